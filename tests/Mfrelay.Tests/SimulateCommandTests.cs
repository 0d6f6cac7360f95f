using System.Text.Json;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>The simulation runs the state machines of both processes together: also stories of the behaviour list that need both.</summary>
public sealed class SimulateCommandTests
{
    private const string One = "mail_server = [ { domain = \"example.com\", host = \"192.168.0.1\" } ]";

    [Fact]
    public void S07_S09_S10_AnOutageThatACheckFindsIsRefusedWith421UntilItEnds()
    {
        using var run = new CommandRun(One);
        Assert.Equal(0, run.Invoke("simulate", "--down", "example.com@02:00+3h", "--mail", "example.com every 30s", "--hours", "6"));
        Assert.Equal(
            """
            00:00:00 - 01:00:00   2 × INFO_a202 Checking the mail server. 192.168.0.1:25(example.com)
            00:00:00 - 01:00:00   2 × INFO_a203 The mail server was checked. 192.168.0.1:25(example.com)
            00:00:30 - 01:59:30   239 × accepted and delivered: example.com
            02:00:00              *** example.com goes down
            02:00:00              INFO_a202 Checking the mail server. 192.168.0.1:25(example.com)
            02:00:00 - 04:59:00   13 × WARN_a301 Cannot connect to the mail server; mail that uses it cannot be sent. 192.168.0.1:25
            02:00:00 - 04:59:30   360 × refused with 421 4.4.1: example.com
            02:00:00 - 04:58:00   168 × recheck by mf-smtp-server failed (not logged): 192.168.0.1:25
            05:00:00              *** example.com comes back
            05:00:00 - 06:00:00   2 × INFO_a202 Checking the mail server. 192.168.0.1:25(example.com)
            05:00:00 - 06:00:00   2 × INFO_a203 The mail server was checked. 192.168.0.1:25(example.com)
            05:00:00 - 06:00:00   121 × accepted and delivered: example.com

            mail sent           720
            refused with 421    360
            refused with 550    0
            accepted            360
            delivered           360
            still in the queue  0
            longest delay       0s

            """,
            run.Output);
    }

    [Fact]
    public void C02_C04_C07_C10_WhatOnlyTheClientSawIsQueuedAndGoesOutAtItsOwnRetryTime()
    {
        using var run = new CommandRun(One);
        // Down and up again between two checks of the server.
        Assert.Equal(0, run.Invoke("simulate", "--down", "192.168.0.1@00:10+12m", "--mail", "example.com every 4m", "--hours", "1", "--json"));
        Assert.Equal(
            [
                "00:12:00 INFO_b303", "00:12:00 INFO_b211", "00:12:00 deferred", // the first mail that met the outage
                "00:13:00 still_waiting",
                "00:16:00 queued", // C4, C10: accepted, not tried
                "00:17:00 listed_check", // C5
                "00:22:00 comes_back",
                "00:22:00 INFO_b212", // C6: the recheck at 00:22
                "00:22:00 delivered_late", // C7: each at its own time, here every whole minute
                "00:24:00 delivered",
            ],
            [.. Steps(run).SkipWhile(step => !step.EndsWith("INFO_b303", StringComparison.Ordinal)).Where(step => !step.Contains("INFO_a", StringComparison.Ordinal))]);
        JsonElement totals = run.Json().GetProperty("totals");
        Assert.Equal((15, 0, 15, 600.0), (
            totals.GetProperty("sent").GetInt32(), totals.GetProperty("refused").GetInt32(), totals.GetProperty("delivered").GetInt32(),
            totals.GetProperty("longest_delay_seconds").GetDouble()));
    }

    [Theory]
    [InlineData("schedule", "00:45:00")]
    [InlineData("release", "00:25:00")]
    public void C07_ComingOffTheListSendsAtOnceOnlyWhenOnRecoverySaysRelease(string onRecovery, string delivered)
    {
        using var run = new CommandRun($"[client]\nretry = [\"30m\"]\non_recovery = \"{onRecovery}\"\n[[mail_server]]\ndomain = \"example.com\"\nhost = \"192.168.0.1\"");
        Assert.Equal(0, run.Invoke("simulate", "--down", "example.com@00:14+10m", "--mail", "example.com every 15m", "--hours", "1", "--json"));
        Assert.Equal($"{delivered} delivered_late", Steps(run).Single(step => step.EndsWith("delivered_late", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("none", "00:11:00 delivered_late")]
    [InlineData("next", "00:10:00 delivered")]
    public void C09_AFailedMessageGoesToAnotherMailServerAtOnceOnlyWhenFailoverSaysNext(string failover, string outcome)
    {
        using var run = new CommandRun($$"""
            client.failover = "{{failover}}"
            mail_server = [ { domain = "example.com", host = "192.168.0.1" }, { domain = "example.com", host = "192.168.0.2" } ]
            """);
        Assert.Equal(0, run.Invoke("simulate", "--down", "192.168.0.1@00:05+30m", "--mail", "example.com every 10m", "--hours", "1", "--json"));
        string[] steps = Steps(run);
        Assert.Contains("00:10:00 INFO_b211", steps, StringComparer.Ordinal);
        Assert.Contains(outcome, steps, StringComparer.Ordinal);
    }

    [Fact]
    public void B05_WhenDownQueueAcceptsDuringAnOutage()
    {
        using var run = new CommandRun("mail_server = [ { domain = \"example.com\", host = \"192.168.0.1\", when_down = \"queue\" } ]");
        Assert.Equal(0, run.Invoke("simulate", "--down", "example.com@00:00+2h", "--mail", "example.com every 10m", "--hours", "4", "--json"));
        JsonElement totals = run.Json().GetProperty("totals");
        Assert.Equal((24, 0, 24), (
            totals.GetProperty("sent").GetInt32(), totals.GetProperty("refused").GetInt32(), totals.GetProperty("delivered").GetInt32()));
    }

    [Fact]
    public void The_same_scenario_gives_the_same_timeline()
    {
        using var run = new CommandRun(One);
        string[] scenario = ["simulate", "--down", "example.com@02:10+3h", "--mail", "example.com every 7s", "--json"];
        run.Invoke(scenario);
        string first = run.Output;
        run.Invoke(scenario);
        Assert.Equal(first, run.Output);
    }

    [Theory]
    [InlineData("--down", "example.com", "--down example.com: write NAME@HH:MM+DURATION, such as example.com@02:00+3h")]
    [InlineData("--down", "example.com@02:61+3h", "--down example.com@02:61+3h: write NAME@HH:MM+DURATION, such as example.com@02:00+3h")]
    [InlineData("--down", "example.net@02:00+3h", "--down example.net@02:00+3h: no registered mail server has the host, address or domain example.net")]
    [InlineData("--mail", "example.com", "--mail \"example.com\": write \"DOMAIN every DURATION\", such as \"example.com every 30s\"")]
    [InlineData("--mail", "example.com every 1ms", "--mail: more than 1000000 messages in 24 hours; write a longer interval or fewer hours")]
    [InlineData("--hours", "0", "--hours 0: write 1 to 744")]
    public void A_wrong_scenario_is_told_with_exit_64(string option, string value, string error)
    {
        using var run = new CommandRun(One);
        Assert.Equal(64, run.Invoke("simulate", option, value));
        Assert.Equal($"mfrelay: {error}\n", run.Error);
    }

    /// <summary>"00:12:00 INFO_b303", "00:22:00 delivered_late".</summary>
    private static string[] Steps(CommandRun run) => [.. run.Json().GetProperty("timeline").EnumerateArray().Select(entry =>
    {
        string kind = entry.GetProperty("kind").GetString()!;
        return $"{entry.GetProperty("from").GetString()} {(kind is "log" ? entry.GetProperty("text").GetString()!.Split(' ')[0] : kind)}";
    })];
}
