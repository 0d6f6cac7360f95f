using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>
/// Random sequences of events through both state machines. A sequence is a list of octets, so that a failing one shrinks to a short one:
/// the low bits name the event, the high bits how much time goes by before it.
/// </summary>
public sealed class HealthPropertyTests
{
    private static readonly ServerSettings Server = new();
    private static readonly ClientSettings Client = new();

    private delegate void Step(MailServerHealth before, HealthEvent what, HealthChange change, DateTimeOffset now);

    [Fact]
    public void S10_AFailureIsLoggedExactlyWhenItIsTheFirstOrEvery15thRecheck() => ForServer(() =>
    {
        int failures = 0;
        return (_, what, change, _) =>
        {
            bool failed = what is HealthEvent.ConnectFailed or HealthEvent.DialogFailed;
            failures = failed ? failures + 1 : what is HealthEvent.CheckSucceeded ? 0 : failures;
            LogEvent line = what is HealthEvent.ConnectFailed ? LogEvents.ConnectFailed : LogEvents.DialogFailed;
            int rechecks = failures - 1;
            LogEvent[] expected = failed && (failures == 1 || rechecks % 15 == 0) ? [line] : [];
            Assert.Equal(expected, change.Lines.Where(each => each.Grade == LogGrade.Warning));
            Assert.Equal(failures, change.Health.Failures);
        };
    });

    [Fact]
    public void S07_RefusedExactlyWhileTheServersOwnViewIsNotReached() => ForServer(() =>
    {
        bool reached = false;
        var route = new Route("example.com", [HealthStory.MailServer]);
        return (_, what, change, _) =>
        {
            reached = what switch
            {
                HealthEvent.CheckSucceeded => true,
                HealthEvent.ConnectFailed or HealthEvent.DialogFailed => false,
                _ => reached,
            };
            Assert.Equal(!reached, RoutePolicy.Refuses(route, _ => change.Health.State));
        };
    });

    [Fact]
    public void S09_TheNextCheckIsAlwaysKnownAndNeverLaterThanItsInterval() => ForServer(() => (before, what, change, now) =>
    {
        TimeSpan wait = change.Health.NextCheck - now;
        switch (what)
        {
            case HealthEvent.CheckSucceeded:
                Assert.Equal(Server.CheckInterval, wait);
                break;
            case HealthEvent.ConnectFailed or HealthEvent.DialogFailed:
                Assert.Equal(before.State == HealthState.Down ? Server.RecheckInterval : TimeSpan.Zero, wait);
                break;
            default:
                Assert.Equal(before.NextCheck, change.Health.NextCheck);
                break;
        }
    });

    [Fact]
    public void S10_RecoveryAlwaysClears() => ForServer(() => (before, what, change, _) =>
    {
        if (what is not HealthEvent.CheckSucceeded)
            return;
        Assert.Equal((HealthState.Reached, 0, ""), (change.Health.State, change.Health.Failures, change.Health.LastError));
        LogEvent[] expected = before.State == HealthState.Down ? [LogEvents.CheckStarts, LogEvents.CheckSucceeded] : [LogEvents.CheckSucceeded];
        Assert.Equal(expected, change.Lines);
    });

    [Fact]
    public void C01_TheClientNeverChecksWhatIsNotListed() => ForClient(() => (_, _, change, now) =>
    {
        if (change.Health.State == HealthState.Down)
            Assert.True(change.Health.NextCheck <= now + Client.RecheckInterval);
        else
            Assert.Equal(DateTimeOffset.MaxValue, change.Health.NextCheck);
    });

    [Fact]
    public void C02_C06_EnteringAndLeavingTheListIsLoggedOnceEachAndNothingElseIs() => ForClient(() => (before, _, change, _) =>
    {
        LogEvent[] expected = (before.State == HealthState.Down, change.Health.State == HealthState.Down) switch
        {
            (false, true) => [LogEvents.Listed],
            (true, false) => [LogEvents.Unlisted],
            _ => [],
        };
        Assert.Equal(expected, change.Lines);
    });

    [Fact]
    public void C06_RecoveryAlwaysClears() => ForClient(() => (_, what, change, _) =>
    {
        if (what is HealthEvent.CheckSucceeded or HealthEvent.DeliverySucceeded)
            Assert.Equal((0, "", false), (change.Health.Failures, change.Health.LastError, change.Health.State == HealthState.Down));
        if (what is HealthEvent.DeliveryFailed)
            Assert.Equal(HealthState.Down, change.Health.State);
    });

    private static void ForServer(Func<Step> start) => ForAll(HealthOwner.Server, start,
        static (health, what, now) => ServerChecks.Next(health, what, now, Server, TimeSpan.Zero));

    private static void ForClient(Func<Step> start) => ForAll(HealthOwner.Client, start,
        static (health, what, now) => CheckList.Next(health, what, now, Client));

    private static void ForAll(HealthOwner owner, Func<Step> start, Func<MailServerHealth, HealthEvent, DateTimeOffset, HealthChange> next) =>
        // Long sequences, mostly of failures, so that the 15th and the 30th are reached.
        Prop.ForAll(Arb.From(Gen.Choose(0, 255).ListOf().Resize(200)), sequence =>
        {
            Step step = start();
            DateTimeOffset now = HealthStory.Midnight;
            MailServerHealth health = MailServerHealth.Of(owner, HealthStory.MailServer, now);
            foreach (int octet in sequence)
            {
                now += TimeSpan.FromSeconds(octet >> 3);
                HealthEvent what = (octet & 31) switch
                {
                    0 => new HealthEvent.CheckSucceeded(HealthStory.Announced),
                    1 => new HealthEvent.DeliverySucceeded(),
                    < 5 => new HealthEvent.DeliveryFailed("timed out"),
                    < 10 => new HealthEvent.CheckStarts(),
                    < 20 => new HealthEvent.DialogFailed("greeting: 554 no"),
                    _ => new HealthEvent.ConnectFailed("Connection refused"),
                };
                HealthChange change = next(health, what, now);
                step(health, what, change, now);
                Assert.Equal(change.Health.State == health.State ? health.Since : now, change.Health.Since);
                health = change.Health;
            }
        }).QuickCheckThrowOnFailure();
}
