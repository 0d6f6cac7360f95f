using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// Watches every registered mail server (S1 to S10): a loop each, which sleeps until its next check, asks the probe, and hands the answer
/// to <see cref="ServerChecks"/>. The registered list may change while it runs; what stays on the list keeps its state, and is found by
/// the entries of the old list as well as by those of the new one.
/// </summary>
internal sealed class HealthMonitor : IAsyncDisposable
{
    /// <summary>So that a connection that times out is told as such.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromMilliseconds(200);

    private readonly QueueStore _store;
    private readonly MailLog _log;
    private readonly TimeProvider _time;
    private readonly Func<MailServer, Settings, CancellationToken, Task<HealthEvent>> _probe;
    private readonly Lock _gate = new();
    /// <summary>By <see cref="MailServer.Key"/>.</summary>
    private volatile Dictionary<string, Watch> _watches = new(StringComparer.Ordinal);
    private Settings _settings;
    private SemaphoreSlim _turns;

    /// <param name="probe">One check: a connection, greeting and EHLO. What it throws, but for cancellation, is a failed check.</param>
    public HealthMonitor(Settings settings, QueueStore store, MailLog log, TimeProvider time,
        Func<MailServer, Settings, CancellationToken, Task<HealthEvent>> probe)
    {
        (_settings, _store, _log, _time, _probe) = (settings, store, log, time, probe);
        _turns = new SemaphoreSlim(settings.Server.MaxChecks);
    }

    /// <summary>The server's own view (S12) of a mail server of the present list.</summary>
    public MailServerHealth? HealthOf(MailServer server) => _watches.GetValueOrDefault(server.Key)?.Health;

    public HealthState StateOf(MailServer server) => HealthOf(server)?.State ?? HealthState.Unknown;

    /// <summary>Takes over a registered list: when it has changed every entry is checked now (S1), and removed ones leave the health table.</summary>
    /// <returns>Completes when each entry has been checked once.</returns>
    public Task ApplyAsync(Settings settings)
    {
        lock (_gate)
        {
            if (_settings.Server.MaxChecks != settings.Server.MaxChecks)
                _turns = new SemaphoreSlim(settings.Server.MaxChecks);
            _settings = settings;
            MailServer[] servers = [.. settings.MailServers.Where(server => !server.IsMx)];
            if (servers.Length != _watches.Count || !Array.TrueForAll(servers, IsWatched))
            {
                Dictionary<string, Watch> before = _watches;
                _watches = servers.ToDictionary(server => server.Key, server => Start(server, before.GetValueOrDefault(server.Key)?.Health), StringComparer.Ordinal);
                foreach (Watch old in before.Values)
                    _ = old.Cancel.CancelAsync();
                _ = _store.RunAsync(RemoveStrangers(_watches.Values.Select(watch => watch.Key).ToHashSet(StringComparer.Ordinal)));
            }
            return Task.WhenAll(_watches.Values.Select(watch => watch.FirstCheck.Task));
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Watch watch in _watches.Values)
            await watch.Cancel.CancelAsync();
        await Task.WhenAll(_watches.Values.Select(watch => watch.Loop));
        _turns.Dispose();
    }

    private static Action<QueueTable> RemoveStrangers(HashSet<string> registered) => table =>
    {
        foreach (MailServerHealth row in table.ReadHealth())
        {
            if (row.Owner == HealthOwner.Server && !registered.Contains(row.Key))
                table.DeleteHealth(row);
        }
    };

    /// <summary>With the same settings. A record compares lists by reference, and each reading of the config makes new ones.</summary>
    private bool IsWatched(MailServer server) =>
        _watches.GetValueOrDefault(server.Key)?.Server is { } watched
        && watched == server with { TlsFingerprint = watched.TlsFingerprint }
        && watched.TlsFingerprint.SequenceEqual(server.TlsFingerprint, StringComparer.Ordinal);

    /// <param name="known">The state before the list changed, which counts until the first check.</param>
    private Watch Start(MailServer server, MailServerHealth? known = null)
    {
        DateTimeOffset now = _time.GetUtcNow();
        var watch = new Watch(server, (known ?? MailServerHealth.Of(HealthOwner.Server, server, now)) with { NextCheck = now });
        watch.Loop = Task.Run(() => WatchAsync(watch));
        return watch;
    }

    private async Task WatchAsync(Watch watch)
    {
        CancellationToken cancel = watch.Cancel.Token;
        try
        {
            while (true)
            {
                TimeSpan wait = watch.Health.NextCheck - _time.GetUtcNow();
                if (wait > TimeSpan.Zero)
                    await Task.Delay(wait, _time, cancel);
                await CheckAsync(watch, cancel);
                watch.FirstCheck.TrySetResult();
            }
        }
        catch (OperationCanceledException)
        {
            // Removed from the list, or stopping.
        }
        catch (Exception e)
        {
            _log.Unexpected($"check of {watch.Server.Address}", e);
        }
        watch.FirstCheck.TrySetResult();
    }

    private async Task CheckAsync(Watch watch, CancellationToken cancel)
    {
        SemaphoreSlim turns = _turns;
        await turns.WaitAsync(cancel);
        try
        {
            Apply(watch, new HealthEvent.CheckStarts());
            Apply(watch, await ProbeAsync(watch.Server, cancel));
        }
        finally
        {
            turns.Release();
        }
        MailServerHealth health = watch.Health;
        _ = _store.RunAsync(table => table.PutHealth(health));
    }

    /// <summary>
    /// The probe waits as long as the timeout for each answer; all of it may take no longer either, because the first round holds up READY.
    /// </summary>
    private async Task<HealthEvent> ProbeAsync(MailServer server, CancellationToken cancel)
    {
        using var limit = new CancellationTokenSource(_settings.Server.CheckTimeout + Grace, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancel);
        try
        {
            return await _probe(server, _settings, either.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return new HealthEvent.DialogFailed("timed out");
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            _log.Unexpected($"check of {server.Address}", e);
            return new HealthEvent.ConnectFailed(e.Message);
        }
    }

    private void Apply(Watch watch, HealthEvent what)
    {
        HealthChange change = ServerChecks.Next(watch.Health, what, _time.GetUtcNow(), _settings.Server, watch.Jitter(_settings.Server.CheckInterval));
        watch.Health = change.Health;
        _log.Health(change);
    }

    private sealed class Watch(MailServer server, MailServerHealth health)
    {
        private volatile MailServerHealth _health = health;

        public MailServer Server { get; } = server;
        public string Key { get; } = server.Key;
        public CancellationTokenSource Cancel { get; } = new();
        public TaskCompletionSource FirstCheck { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public Task Loop { get; set; } = Task.CompletedTask;

        public MailServerHealth Health
        {
            get => _health;
            set => _health = value;
        }

        /// <summary>Up to a sixtieth of the interval (a minute of an hour), always the same for one mail server.</summary>
        public TimeSpan Jitter(TimeSpan interval) => interval / 60 * (Crc32C.Of(System.Text.Encoding.UTF8.GetBytes(Key)) / (double)uint.MaxValue);
    }
}
