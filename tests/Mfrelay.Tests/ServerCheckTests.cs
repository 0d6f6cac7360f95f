using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>S1 to S12 of the behaviour list, as far as the state machine and the policy decide them, in virtual time.</summary>
public sealed class ServerCheckTests
{
    private readonly HealthStory _story = new(HealthOwner.Server);

    [Fact]
    public void S01_ChecksAtStartAndThenEveryHour()
    {
        _story.RunUntil("03:30");
        Assert.Equal(["00:00:00", "01:00:00", "02:00:00", "03:00:00"], _story.Checks);
    }

    [Fact]
    public void S01_TheIntervalIsASettingAndJitterIsAddedToIt()
    {
        HealthChange change = ServerChecks.Next(_story.Health, _story.Answer, _story.Now,
            new ServerSettings { CheckInterval = TimeSpan.FromHours(3) }, jitter: TimeSpan.FromSeconds(17));
        Assert.Equal(HealthStory.Midnight.AddHours(3).AddSeconds(17), change.Health.NextCheck);
    }

    [Fact]
    public void S02_WhatGreetingAndEhloSaidIsKeptAlsoWhileItIsDown()
    {
        _story.RunUntil("00:30");
        Assert.Equal(HealthStory.Announced, _story.Health.Announced);
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("01:30");
        Assert.Equal(HealthState.Down, _story.Health.State);
        Assert.Equal(HealthStory.Announced, _story.Health.Announced);
    }

    [Fact]
    public void S03_S04_EachCheckOfAServerThatAnswersLogsItsStartAndItsEnd()
    {
        _story.RunUntil("01:30");
        Assert.Equal(["00:00:00 INFO_a202", "00:00:00 INFO_a203", "01:00:00 INFO_a202", "01:00:00 INFO_a203"], _story.Lines);
    }

    [Fact]
    public void S05_NoConnectionIsLoggedAndCountsAsDown()
    {
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("00:00");
        Assert.Equal(["00:00:00 INFO_a202", "00:00:00 WARN_a301"], _story.Lines);
        Assert.Equal((HealthState.Down, "Connection refused"), (_story.Health.State, _story.Health.LastError));
    }

    [Fact]
    public void S06_AFailedGreetingOrEhloIsLoggedAndCountsAsNotConnected()
    {
        _story.Answer = new HealthEvent.DialogFailed("greeting: 554 no");
        _story.RunUntil("00:00");
        Assert.Equal(["00:00:00 INFO_a202", "00:00:00 WARN_a302"], _story.Lines);
        Assert.Equal((HealthState.Down, "greeting: 554 no"), (_story.Health.State, _story.Health.LastError));
    }

    [Fact]
    public void S09_FirstRecheckIsImmediateThenEveryMinute()
    {
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("00:03:30");
        Assert.Equal(["00:00:00", "00:00:00", "00:01:00", "00:02:00", "00:03:00"], _story.Checks);
    }

    [Fact]
    public void S09_EveryNewFailureBeginsWithAnImmediateRecheck()
    {
        _story.RunUntil("00:30");
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("01:01:30");
        Assert.Equal(["00:00:00", "01:00:00", "01:00:00", "01:01:00"], _story.Checks);
        _story.Answer = new HealthEvent.CheckSucceeded(HealthStory.Announced);
        _story.RunUntil("01:02:30");
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("02:02:30");
        Assert.Equal(["01:02:00", "02:02:00", "02:02:00"], _story.Checks[4..]);
    }

    [Fact]
    public void S10_OnlyEvery15thRecheckIsLoggedAndThenOneLineIn15Minutes()
    {
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("00:50");
        // The first recheck is at 00:00, at once, so recheck n is at minute n - 1.
        Assert.Equal(["00:00:00 INFO_a202", "00:00:00 WARN_a301", "00:14:00 WARN_a301", "00:29:00 WARN_a301", "00:44:00 WARN_a301"], _story.Lines);
        Assert.Equal(52, _story.Health.Failures);
    }

    [Fact]
    public void S10_HowManyFailuresAreLoggedIsASetting()
    {
        _story.Server = new ServerSettings { LogEveryFailure = 1 };
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("00:02");
        Assert.Equal(4, _story.Lines.Count(line => line.EndsWith("WARN_a301", StringComparison.Ordinal)));
    }

    [Fact]
    public void S10_RecoveryLogsStartAndEndOnceAndReturnsToTheLongInterval()
    {
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("00:05:30");
        _story.Lines.Clear();
        _story.Checks.Clear();
        _story.Answer = new HealthEvent.CheckSucceeded(HealthStory.Announced);
        _story.RunUntil("00:59");
        Assert.Equal(["00:06:00 INFO_a202", "00:06:00 INFO_a203"], _story.Lines);
        Assert.Equal(["00:06:00"], _story.Checks);
        Assert.Equal((HealthState.Reached, 0, ""), (_story.Health.State, _story.Health.Failures, _story.Health.LastError));
        Assert.Equal(HealthStory.Midnight.AddMinutes(66), _story.Health.NextCheck);
    }

    [Fact]
    public void S12_WhatOnlyTheClientSawChangesNothingInTheServersView()
    {
        _story.RunUntil("00:30");
        MailServerHealth before = _story.Health;
        _story.Lines.Clear();
        _story.Happen(new HealthEvent.DeliveryFailed("timed out"));
        _story.Happen(new HealthEvent.DeliverySucceeded());
        Assert.Equal(before, _story.Health);
        Assert.Empty(_story.Lines);
    }

    [Fact]
    public void Since_tells_the_last_change_of_state_and_not_the_last_check()
    {
        _story.RunUntil("01:30");
        Assert.Equal(HealthStory.Midnight, _story.Health.Since);
        Assert.Equal(HealthStory.Midnight.AddHours(1), _story.Health.LastCheck);
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("02:30");
        Assert.Equal(HealthStory.Midnight.AddHours(2), _story.Health.Since);
        Assert.Equal(HealthStory.Midnight.AddMinutes(150), _story.Health.LastCheck);
    }
}
