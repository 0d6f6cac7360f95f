using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// The check list of this process (C1 to C6): hears of failed and successful deliveries, checks what is listed, says when a mail server
/// comes off. Decisions are <see cref="CheckList"/>'s; the rows in the health table make the list survive a restart (C11).
/// </summary>
internal sealed class CheckListKeeper(QueueRunner runner, QueueStore store, Func<MailServer, CancellationToken, Task<HealthEvent>> check)
{
    /// <summary>How often "last delivery" of a busy mail server is written.</summary>
    private static readonly TimeSpan DeliveryNote = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, MailServerHealth> _health = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Task> _watches = new(StringComparer.Ordinal);
    private Dictionary<string, Drain> _drains = new(StringComparer.Ordinal);

    /// <summary>Takes over what an earlier run left in the table, for the mail servers that are still registered.</summary>
    public async Task LoadAsync()
    {
        IReadOnlyList<MailServerHealth> rows = await store.RunAsync(table => table.ReadHealth());
        lock (_gate)
        {
            foreach (MailServerHealth row in rows.Where(row => row.Owner == HealthOwner.Client))
                _health.TryAdd(row.Key, row);
        }
        Apply();
    }

    /// <summary>A new registered list: rows of removed mail servers go, what is listed is watched.</summary>
    public void Apply()
    {
        lock (_gate)
        {
            foreach ((string key, MailServerHealth row) in _health.ToArray())
            {
                if (runner.Registered(row.Domain, key) is not { } server || IsForgotten(server, row))
                {
                    _health.Remove(key);
                    _ = store.RunAsync(table => table.DeleteHealth(row));
                }
                else if (row.State == HealthState.Down)
                {
                    Watch(server);
                }
            }
        }
    }

    public bool IsListed(MailServer server) => StateOf(server) is (true, _) or (_, true);

    public (bool IsDown, bool IsDrained) StateOf(MailServer server)
    {
        lock (_gate)
            return (_health.GetValueOrDefault(server.Key)?.State == HealthState.Down, IsDrained(server));
    }

    /// <summary>Addresses of what is on the list or drained, for the line of status.</summary>
    public IReadOnlyList<string> Listed()
    {
        lock (_gate)
        {
            return [.. _health.Values.Where(health => health.State == HealthState.Down).Select(health => health.Address)
                .Concat(_drains.Values.Where(drain => drain.Until > runner.Time.GetUtcNow()).Select(drain => $"{drain.Key} drained"))
                .Distinct(StringComparer.Ordinal)];
        }
    }

    /// <summary>What the operator drains, as the table has it: that whose time is over does not count.</summary>
    public void SetDrains(IReadOnlyList<Drain> table)
    {
        lock (_gate)
        {
            Drain[] drains = [.. table.Where(drain => drain.Until > runner.Time.GetUtcNow())];
            if (drains.Length == 0 && _drains.Count == 0)
                return;
            foreach (Drain drain in drains.Where(drain => !_drains.ContainsKey(drain.Key)))
                runner.Log.Drained(drain);
            foreach (Drain drain in _drains.Values.Where(old => drains.All(drain => !string.Equals(drain.Key, old.Key, StringComparison.Ordinal))))
                runner.Log.Undrained(drain);
            _drains = drains.ToDictionary(drain => drain.Key, StringComparer.Ordinal);
        }
    }

    /// <summary>Those whose time is over end by themselves; called every second.</summary>
    public void EndDrains()
    {
        lock (_gate)
            SetDrains([.. _drains.Values]);
    }

    private bool IsDrained(MailServer server) =>
        _drains.Count > 0 && _drains.TryGetValue(server.Key, out Drain? drain) && drain.Until > runner.Time.GetUtcNow();

    /// <summary>A delivery could not connect or timed out (C2).</summary>
    public void DeliveryFailed(MailServer server, string error) => Note(server, new HealthEvent.DeliveryFailed(error));

    /// <summary>A mail server took mail; cheap, since it happens with every message.</summary>
    public void DeliverySucceeded(MailServer server)
    {
        lock (_gate)
        {
            if (server.IsMx && !_health.ContainsKey(server.Key))
                return;
            MailServerHealth health = HealthOf(server);
            if (health.State == HealthState.Reached && runner.Time.GetUtcNow() - health.LastDelivery < DeliveryNote)
                return;
        }
        Note(server, new HealthEvent.DeliverySucceeded());
    }

    /// <summary>Completes when nothing is being checked; the checks end once the runner stops.</summary>
    public Task WhenIdleAsync()
    {
        lock (_gate)
            return Task.WhenAll(_watches.Values);
    }

    private MailServerHealth HealthOf(MailServer server) =>
        _health.GetValueOrDefault(server.Key) ?? MailServerHealth.Of(HealthOwner.Client, server, runner.Time.GetUtcNow());

    private void Note(MailServer server, HealthEvent what)
    {
        HealthState before;
        HealthChange change;
        lock (_gate)
        {
            MailServerHealth health = HealthOf(server);
            before = health.State;
            change = CheckList.Next(health, what, runner.Time.GetUtcNow(), runner.Settings.Client);
            _health[server.Key] = change.Health;
            if (IsForgotten(server, change.Health))
                _health.Remove(server.Key);
            if (before != HealthState.Down && change.Health.State == HealthState.Down)
                Watch(server);
        }
        runner.Log.Health(change);
        _ = store.RunAsync(table =>
        {
            if (IsForgotten(server, change.Health))
                table.DeleteHealth(change.Health);
            else
                table.PutHealth(change.Health);
        });
        if (before == HealthState.Down && change.Health.State != HealthState.Down)
            runner.Recovered(server);
    }

    // With MX records there is one for each domain of the world: only what is down is worth remembering.
    private static bool IsForgotten(MailServer server, MailServerHealth health) => server.IsMx && health.State != HealthState.Down;

    // Under the lock. One at a time for a mail server: a reload asks for those that are being watched as well.
    private void Watch(MailServer server)
    {
        if (!_watches.ContainsKey(server.Key))
            _watches[server.Key] = Task.Run(() => WatchAsync(server));
    }

    /// <summary>Checks one listed mail server until it is off the list (C5).</summary>
    private async Task WatchAsync(MailServer server)
    {
        try
        {
            while (true)
            {
                TimeSpan wait;
                lock (_gate)
                {
                    if (!_health.TryGetValue(server.Key, out MailServerHealth? health) || health.State != HealthState.Down)
                    {
                        // In the same breath as the decision: listed again, it needs a watch of its own.
                        _watches.Remove(server.Key);
                        return;
                    }
                    wait = health.NextCheck - runner.Time.GetUtcNow();
                    // The clock may have been set back since that was written down.
                    if (wait > runner.Settings.Client.RecheckInterval)
                        wait = runner.Settings.Client.RecheckInterval;
                }
                if (wait > TimeSpan.Zero)
                    await Task.Delay(wait, runner.Time, runner.Stopping);
                HealthEvent what = await CheckAsync(runner.Registered(server.Domain, server.Key) ?? server);
                if (runner.Stopping.IsCancellationRequested)
                    return;
                Note(server, what);
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    /// <summary>A check that fails in a way nobody thought of is a failed check, and the next one may do better.</summary>
    private async Task<HealthEvent> CheckAsync(MailServer server)
    {
        try
        {
            return await check(server, runner.Stopping);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            runner.Log.Unexpected($"check of {server.Address}", e);
            return new HealthEvent.ConnectFailed(e.Message);
        }
    }
}
