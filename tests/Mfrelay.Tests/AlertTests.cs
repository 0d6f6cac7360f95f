using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class AlertTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    private static readonly AlertSettings Rules = new()
    {
        OldestMail = TimeSpan.FromHours(1),
        QueueSize = 100,
        ServerDown = TimeSpan.FromMinutes(10),
        DiskFree = 1 << 30,
    };

    private readonly AlertBoard _board = new();

    [Fact]
    public void Each_alert_is_raised_once_and_cleared_once()
    {
        Assert.Equal(["oldest_mail queue 60m"], Look(Facts(age: 60)).Raised);
        Assert.Equal("alerts: oldest_mail queue 60m", _board.Status);
        (string[] raised, string[] cleared) = Look(Facts(age: 61));
        Assert.Empty(raised);
        Assert.Empty(cleared);
        Assert.Equal(["oldest_mail queue 61m"], Look(Facts(age: 1)).Cleared);
        Assert.Equal("", _board.Status);
        Assert.Empty(Look(Facts(age: 1)).Cleared);
    }

    [Theory]
    [InlineData(59, 1, 0, 9, 2048, "")]
    [InlineData(60, 1, 1, 9, 2048, "")] // all of it is on hold
    [InlineData(1, 100, 0, 9, 2048, "queue_size queue 100")]
    [InlineData(1, 1, 0, 10, 2048, "server_down example.com 10.0.0.1:25 10m")]
    [InlineData(1, 1, 0, 9, 1023, "disk_free /state 1023MiB")]
    public void A_rule_is_broken_at_its_limit(int age, int count, int held, int down, long free, string raised)
    {
        string[] all = Look(Facts(age, count, held, down, free)).Raised;
        Assert.Equal(raised, string.Join('|', all));
    }

    [Fact]
    public void What_was_up_before_a_restart_is_not_raised_again_and_is_cleared_once()
    {
        _ = Look(Facts(age: 60));
        var next = new AlertBoard();
        next.Restore(_board.Up);
        Assert.Equal(Now, Assert.Single(next.Up).Since);
        (IReadOnlyList<Alert> raised, IReadOnlyList<Alert> cleared) = next.Look(Facts(age: 70), Rules);
        Assert.Empty(raised);
        Assert.Empty(cleared);
        Assert.Equal("oldest_mail queue 70m", Text(Assert.Single(next.Look(Facts(age: 1), Rules).Cleared)));
    }

    [Fact]
    public void A_queue_that_is_not_counted_yet_clears_nothing()
    {
        _ = Look(Facts(age: 60));
        Assert.Empty(Look(Facts(age: 60) with { Queue = null }).Cleared);
        Assert.Single(_board.Look(Facts(age: 60) with { Queue = null }, new AlertSettings()).Cleared); // the rule is gone
    }

    [Fact]
    public void Rules_that_are_0_never_raise()
    {
        Assert.False(new AlertSettings().IsOn);
        Assert.Empty(_board.Look(Facts(600, 1000, 0, 600, 1), new AlertSettings()).Raised);
    }

    private (string[] Raised, string[] Cleared) Look(AlertFacts facts)
    {
        (IReadOnlyList<Alert> raised, IReadOnlyList<Alert> cleared) = _board.Look(facts, Rules);
        return ([.. raised.Select(Text)], [.. cleared.Select(Text)]);
    }

    private static string Text(Alert alert) => $"{alert.RuleName} {alert.Subject} {alert.Value}";

    private static AlertFacts Facts(int age, int count = 1, int held = 0, int down = 0, long free = 2048) => new(
        Now,
        new QueueSummary(Now, 1, [new RouteSummary("example.com", count, 1024, held, 0, Now.AddMinutes(-age), Now, "")]),
        [CommandRun.View(HealthOwner.Client, "10.0.0.1", HealthState.Down) with { Since = Now.AddMinutes(-down) }],
        "/state",
        free << 20);
}
