using System.Collections.Concurrent;
using Mfrelay.Core;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>The loop around the state machine of the checks, with hours of virtual time: real store, real log, a probe that the test answers.</summary>
public sealed class HealthMonitorTests : IAsyncDisposable
{
    private readonly VirtualTime _time = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("mfrelay-");
    private readonly ConcurrentQueue<string> _lines = new();
    private readonly ConcurrentQueue<string> _probes = new();
    private readonly ConcurrentDictionary<string, bool> _down = new(StringComparer.Ordinal);
    private readonly QueueStore _store;
    private readonly HealthMonitor _monitor;
    private Settings _settings = With("a.test", "b.test");
    private Func<MailServer, HealthEvent> _answer;

    public HealthMonitorTests()
    {
        _answer = server => _down.ContainsKey(server.Domain)
            ? new HealthEvent.ConnectFailed("refused")
            : new HealthEvent.CheckSucceeded(new Announcement("SIZE", 1000));
        MailLog log = MailLog.ToAction(Language.Ja, (_, line) => _lines.Enqueue(line));
        _store = new QueueStore(StateDirectory.Open(_directory.FullName), () => new RouteTable(_settings.MailServers), log, TimeProvider.System);
        _monitor = new HealthMonitor(_settings, _store, log, _time, (server, _, _) =>
        {
            _probes.Enqueue(server.Domain);
            return Task.FromResult(_answer(server));
        });
    }

    [Fact]
    public async Task S01_EveryRegisteredMailServerIsCheckedAtStartAndEveryHour()
    {
        await _monitor.ApplyAsync(_settings);
        Assert.Equal(["a.test", "b.test"], _probes.Order(StringComparer.Ordinal));
        _time.Advance(TimeSpan.FromMinutes(59));
        await Task.Delay(50);
        Assert.Equal(2, _probes.Count);
        _time.Advance(TimeSpan.FromMinutes(3));
        await ProbesAsync(4);
    }

    [Fact]
    public async Task S01_AReloadThatChangesTheListChecksEveryMailServerAndForgetsWhatWasRemoved()
    {
        await _monitor.ApplyAsync(_settings);
        _settings = With("b.test", "c.test");
        await _monitor.ApplyAsync(_settings);
        Assert.Equal(["a.test", "b.test", "b.test", "c.test"], _probes.Order(StringComparer.Ordinal));
        await RowsAsync(["b.test", "c.test"]);
        Assert.Equal(HealthState.Reached, _monitor.StateOf(_settings.MailServers[0]));
    }

    [Fact]
    public async Task S01_AMailServerThatIsDownIsReachedAtOnceWhenAReloadChangesTheSettingThatKeptItDown()
    {
        _answer = server => server.Tls == TlsMode.Required
            ? new HealthEvent.DialogFailed("TLS: the certificate has expired")
            : new HealthEvent.CheckSucceeded(Announcement.None);
        Settings required = With(new MailServer { Domain = "a.test", Host = "127.0.0.1", Tls = TlsMode.Required });
        await _monitor.ApplyAsync(required);
        Assert.Equal(HealthState.Down, _monitor.StateOf(required.MailServers[0]));
        Settings opportunistic = With(required.MailServers[0] with { Tls = TlsMode.Opportunistic });
        await _monitor.ApplyAsync(opportunistic);
        Assert.Equal(HealthState.Reached, _monitor.StateOf(opportunistic.MailServers[0]));
        Assert.Null(new Admission(opportunistic, _monitor).ForRecipient("x@a.test", null, out _));
    }

    [Fact]
    public async Task S01_AReloadThatChangesNothingOfAMailServerDoesNotCheckIt()
    {
        static Settings Read() => With(new MailServer { Domain = "a.test", Host = "127.0.0.1", TlsFingerprint = [new string('0', 64)] });
        await _monitor.ApplyAsync(Read());
        await _monitor.ApplyAsync(Read());
        _time.Advance(TimeSpan.FromSeconds(1));
        await Task.Delay(50);
        Assert.Single(_probes);
    }

    [Fact]
    public async Task S07_AReloadAtNoMomentRefusesMailForDomainsThatStay()
    {
        await _monitor.ApplyAsync(_settings);
        var old = new Admission(_settings, _monitor);
        Settings changed = With("a.test", "b.test", "c.test");
        var next = new Admission(changed, _monitor);
        Assert.Null(next.ForRecipient("x@a.test", null, out _));
        _ = _monitor.ApplyAsync(changed);
        Assert.Null(old.ForRecipient("x@a.test", null, out _));
        Assert.Null(next.ForRecipient("x@a.test", null, out _));
    }

    [Fact]
    public async Task S09_AnUnexpectedExceptionInACheckIsAFailedCheckAndNotTheLastOne()
    {
        _answer = _ => throw new InvalidOperationException("boom");
        _settings = With("a.test");
        await _monitor.ApplyAsync(_settings);
        Assert.Equal(HealthState.Down, _monitor.StateOf(_settings.MailServers[0]));
        Assert.Contains(_lines, line => line.Contains("boom", StringComparison.Ordinal));
        await ProbesAsync(2);
        _answer = _ => new HealthEvent.CheckSucceeded(Announcement.None);
        await UntilAsync(() =>
        {
            _time.Advance(TimeSpan.FromMinutes(1));
            return _monitor.StateOf(_settings.MailServers[0]) == HealthState.Reached;
        });
    }

    [Fact]
    public async Task S09_S10_TheFirstRecheckIsImmediateThenEveryMinuteAndEvery15thRecheckIsLogged()
    {
        _down["a.test"] = true;
        await _monitor.ApplyAsync(_settings);
        await ProbesAsync(3); // both, and a.test once more at once
        for (int failures = 3; failures <= 31; failures++)
        {
            _time.Advance(TimeSpan.FromMinutes(1));
            await ProbesAsync(failures + 1);
        }
        Assert.Equal(3, _lines.Count(line => line.StartsWith("WARN_a301", StringComparison.Ordinal))); // the first, and the 15th and 30th recheck

        _down.Clear();
        int before = _lines.Count;
        _time.Advance(TimeSpan.FromMinutes(1));
        await UntilAsync(() => _monitor.StateOf(_settings.MailServers[0]) == HealthState.Reached);
        Assert.Equal(["INFO_a202", "INFO_a203"], _lines.Skip(before).Select(line => line[..9]));
    }

    [Fact]
    public async Task S07_S08_S11_S12_TheServersOwnViewDecidesWhatIsAdmitted()
    {
        _down["a.test"] = true;
        var admission = new Admission(_settings, _monitor);
        Assert.Equal(421, admission.ForRecipient("x@b.test", null, out _)!.Code); // not yet checked is not reached
        await _monitor.ApplyAsync(_settings);
        Assert.Equal(421, admission.ForRecipient("x@a.test", null, out _)!.Code);
        Assert.EndsWith("Service not available\r\n", System.Text.Encoding.ASCII.GetString(admission.ForSender("x@a.test")!.Wire), StringComparison.Ordinal);
        Assert.Null(admission.ForSender("x@elsewhere.test"));
        Assert.Null(admission.ForRecipient("x@b.test", 1000, out long limit));
        Assert.Equal(1000, limit);
        Assert.Equal(552, admission.ForRecipient("x@b.test", 1001, out _)!.Code);
    }

    [Fact]
    public async Task B05_WhenDownQueueAdmitsMailForAMailServerThatIsDown()
    {
        _settings = _settings with { MailServers = [_settings.MailServers[0] with { WhenDown = WhenDown.Queue }] };
        _down["a.test"] = true;
        await _monitor.ApplyAsync(_settings);
        Assert.Null(new Admission(_settings, _monitor).ForRecipient("x@a.test", null, out _));
    }

    public async ValueTask DisposeAsync()
    {
        await _monitor.DisposeAsync();
        _store.Dispose();
        _directory.Delete(recursive: true);
    }

    private static Settings With(params string[] domains) =>
        With([.. domains.Select(domain => new MailServer { Domain = domain, Host = "127.0.0.1" })]);

    private static Settings With(params MailServer[] servers) => new() { HostName = "relay.test", MailServers = servers };

    private Task ProbesAsync(int count) => UntilAsync(() => _probes.Count >= count);

    private async Task RowsAsync(string[] domains)
    {
        for (int i = 0; i < 200; i++)
        {
            IReadOnlyList<MailServerHealth> rows = await _store.RunAsync(table => table.ReadHealth());
            if (rows.Select(row => row.Domain).Order(StringComparer.Ordinal).SequenceEqual(domains))
                return;
            await Task.Delay(20);
        }
        Assert.Fail("the health table does not hold the registered list");
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        for (int i = 0; i < 500 && !condition(); i++)
            await Task.Delay(10);
        Assert.True(condition());
    }
}
