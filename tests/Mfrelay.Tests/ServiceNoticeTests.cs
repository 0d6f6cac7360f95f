using Mfrelay.Client;
using Mfrelay.Core;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>What systemd is told: the watchdog's sign of life, and the line of status.</summary>
public sealed class ServiceNoticeTests
{
    [Theory]
    [InlineData("60000000", null, 5_000)]
    [InlineData("60000000", "42", 5_000)]
    [InlineData("3000000", "42", 1_000)]
    [InlineData("3000000", "43", 5_000)] // of the process that started this one
    [InlineData("0", null, 5_000)]
    [InlineData("soon", null, 5_000)]
    [InlineData(null, null, 5_000)]
    public void The_period_is_a_third_of_what_the_watchdog_waits(string? microseconds, string? process, int milliseconds) =>
        Assert.Equal(TimeSpan.FromMilliseconds(milliseconds), ServiceNotice.PeriodOf(microseconds, process, self: 42));

    [Fact]
    public void A_daemon_that_stands_still_gives_no_sign_of_life_and_a_status_is_sent_when_it_changes()
    {
        var told = new List<string>();
        (bool alive, string status) = (true, "one");
        var notice = new ServiceNotice(told.Add, () => alive, () => status, TimeProvider.System);
        notice.Tell();
        notice.Tell();
        (alive, status) = (false, "two");
        notice.Tell();
        Assert.Equal(["WATCHDOG=1", "STATUS=one", "WATCHDOG=1", "STATUS=two"], told);
    }

    [Fact]
    public void A_pulse_is_felt_for_ten_seconds()
    {
        var time = new VirtualTime();
        var pulse = new Pulse(time);
        Assert.True(pulse.IsFelt);
        time.Advance(TimeSpan.FromSeconds(10));
        Assert.False(pulse.IsFelt);
        pulse.Beat();
        Assert.True(pulse.IsFelt);
    }

    [Fact]
    public void The_end_may_take_longer_than_the_config_lets_transactions_run() =>
        Assert.Equal("EXTEND_TIMEOUT_USEC=310000000", ServiceNotice.ExtendStop(TimeSpan.FromMinutes(5)));

    [Fact]
    public void The_servers_status_names_the_mail_servers_that_are_not_reached()
    {
        var settings = new Settings
        {
            Server = new ServerSettings { Listen = [new(System.Net.IPAddress.Loopback, 2525)] },
            MailServers =
            [
                new MailServer { Domain = "example.com", Host = "192.0.2.1" },
                new MailServer { Domain = "example.net", Host = "192.0.2.2" },
                new MailServer { Domain = "example.org", Host = "mx" },
            ],
        };
        Assert.Equal("listening on 127.0.0.1:2525; mail servers: 2 registered, 0 not reached",
            ServerStatus.Of(settings, _ => HealthState.Reached, linesLost: 0));
        Assert.Equal("listening on 127.0.0.1:2525; mail servers: 2 registered, 1 not reached (192.0.2.2:25); log lines lost: 3",
            ServerStatus.Of(settings, server => server.Host is "192.0.2.2" ? HealthState.Down : HealthState.Reached, linesLost: 3));
    }

    [Fact]
    public void The_clients_status_has_queue_check_list_and_alerts()
    {
        var queue = new QueueSummary(default, 0, [Route("a", 5, held: 1), Route("b", 2)]);
        Assert.Equal("queue: not counted yet; check list: empty", ClientStatus.Of(null, [], "", 0));
        Assert.Equal("queue: 7 deliveries, 1 on hold; check list: 1 (192.0.2.1:25); alerts: queue_size queue 7; log lines lost: 2",
            ClientStatus.Of(queue, ["192.0.2.1:25"], "alerts: queue_size queue 7", 2));
        Assert.Equal("queue: 7 deliveries, 1 on hold; check list: 7 (1, 2, 3, 4, 5, ...)", ClientStatus.Of(queue, ["1", "2", "3", "4", "5", "6", "7"], "", 0));
    }

    private static RouteSummary Route(string name, int count, int held = 0) => new(name, count, 0, held, 0, default, default, "");
}
