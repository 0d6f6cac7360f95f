using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>C1 to C11 of the behaviour list, as far as the state machine decides them, in virtual time.</summary>
public sealed class CheckListTests
{
    private readonly HealthStory _story = new(HealthOwner.Client);

    [Fact]
    public void C01_NothingIsCheckedWhileAllIsWell()
    {
        _story.RunUntil("10:00");
        _story.Happen(new HealthEvent.DeliverySucceeded());
        _story.RunUntil("23:00");
        Assert.Empty(_story.Checks);
        Assert.Empty(_story.Lines);
        Assert.Equal(DateTimeOffset.MaxValue, _story.Health.NextCheck);
    }

    [Fact]
    public void C02_AFailedDeliveryPutsTheMailServerOnTheCheckListOnce()
    {
        _story.RunUntil("10:00");
        _story.Happen(new HealthEvent.DeliveryFailed("timed out"));
        _story.Happen(new HealthEvent.DeliveryFailed("Connection refused")); // another delivery that ran at the same time
        Assert.Equal(["10:00:00 INFO_b211"], _story.Lines);
        Assert.Equal((HealthState.Down, "Connection refused"), (_story.Health.State, _story.Health.LastError));
    }

    [Fact]
    public void C05_ListedMailServersAreRecheckedEvery5MinutesInSilence()
    {
        _story.RunUntil("10:00");
        _story.Happen(new HealthEvent.DeliveryFailed("timed out"));
        _story.Answer = HealthStory.Refused;
        _story.RunUntil("10:07");
        _story.Answer = new HealthEvent.DialogFailed("greeting: 421 busy");
        _story.RunUntil("10:17");
        Assert.Equal(["10:05:00", "10:10:00", "10:15:00"], _story.Checks);
        Assert.Equal(["10:00:00 INFO_b211"], _story.Lines);
        Assert.Equal((4, "greeting: 421 busy"), (_story.Health.Failures, _story.Health.LastError));
    }

    [Fact]
    public void C05_ALaterFailedDeliveryDoesNotPutTheRecheckOff()
    {
        _story.RunUntil("10:00");
        _story.Happen(new HealthEvent.DeliveryFailed("timed out"));
        _story.RunUntil("10:04");
        _story.Happen(new HealthEvent.DeliveryFailed("timed out"));
        Assert.Equal(HealthStory.Midnight.AddHours(10).AddMinutes(5), _story.Health.NextCheck);
    }

    [Fact]
    public void C06_ASuccessfulRecheckTakesItOffTheListAndChecksEnd()
    {
        _story.RunUntil("10:00");
        _story.Happen(new HealthEvent.DeliveryFailed("timed out"));
        _story.RunUntil("20:00");
        Assert.Equal(["10:05:00"], _story.Checks);
        Assert.Equal(["10:00:00 INFO_b211", "10:05:00 INFO_b212"], _story.Lines);
        Assert.Equal((HealthState.Reached, 0, "", DateTimeOffset.MaxValue),
            (_story.Health.State, _story.Health.Failures, _story.Health.LastError, _story.Health.NextCheck));
    }

    [Fact]
    public void C06_ADeliveryThatWasForcedThroughTakesItOffTheListToo()
    {
        _story.RunUntil("10:00");
        _story.Happen(new HealthEvent.DeliveryFailed("timed out"));
        _story.RunUntil("10:03");
        _story.Happen(new HealthEvent.DeliverySucceeded());
        _story.RunUntil("20:00");
        Assert.Equal(["10:00:00 INFO_b211", "10:03:00 INFO_b212"], _story.Lines);
        Assert.Empty(_story.Checks);
        Assert.Equal(HealthStory.Midnight.AddMinutes(603), _story.Health.LastDelivery);
    }

    [Fact]
    public void C08_RetriesFollowTheScheduleWhoseLastWaitRepeats()
    {
        IReadOnlyList<TimeSpan> retry = new ClientSettings().Retry;
        Assert.Equal([1, 5, 15, 30, 60, 60, 60], Enumerable.Range(1, 7).Select(attempts => RetrySchedule.WaitAfter(attempts, retry).TotalMinutes));
        Assert.Equal(TimeSpan.FromMinutes(60), RetrySchedule.WaitAfter(int.MaxValue, retry));
    }

    [Fact]
    public async Task C11_TheCheckListSurvivesARestart()
    {
        using var root = new TestDirectory();
        _story.RunUntil("10:00");
        _story.Happen(new HealthEvent.DeliveryFailed("timed out"));
        MailServerHealth listed = _story.Health;
        MailServerHealth server = MailServerHealth.Of(HealthOwner.Server, HealthStory.MailServer, HealthStory.Midnight) with
        {
            State = HealthState.Reached,
            Announced = new Announcement("PIPELINING SIZE", 5, "TLSv1.3", HealthStory.Midnight.AddYears(1)),
        };
        await InStoreAsync(root.Path, table =>
        {
            table.PutHealth(listed);
            table.PutHealth(server);
            return true;
        });
        IReadOnlyList<MailServerHealth> read = await InStoreAsync(root.Path, table => table.ReadHealth());
        Assert.Equal([server, listed], read.OrderBy(row => row.Owner));
    }

    private static async Task<T> InStoreAsync<T>(string root, Func<QueueTable, T> work)
    {
        using MailLog log = MailLog.ToAction(Language.En, (_, _) => { });
        using var store = new QueueStore(StateDirectory.Open(root), () => new RouteTable([]), log, TimeProvider.System);
        return await store.RunAsync(work);
    }
}
