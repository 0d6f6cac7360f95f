using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ScheduleTests
{
    private static readonly DateTimeOffset Noon = new(2026, 1, 1, 12, 0, 0, TimeSpan.Zero);

    private readonly Schedule _schedule = new();

    [Fact]
    public void Mail_that_is_held_and_released_again_and_again_does_not_pile_up()
    {
        const int changes = 20_000;
        for (long key = 1; key <= changes; key++)
        {
            _schedule.Replaced(key - 1);
            _schedule.Add(Entry(key, hold: key % 2 == 0), Noon);
        }
        Assert.Equal(1, Assert.Single(_schedule.Summarize([])).Count);
        // It makes a list of all that it has, a good 32 octets each.
        long before = GC.GetAllocatedBytesForCurrentThread();
        _schedule.Shift(TimeSpan.FromHours(1));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, changes * 32 / 4);
    }

    [Fact]
    public void Dropping_what_was_replaced_leaves_all_else_where_it_waits()
    {
        for (long key = 1; key <= 10; key++)
            _schedule.Add(Entry(key), Noon.AddHours(key));
        for (long key = 11; key <= 20; key++)
            _schedule.Due(Entry(key, attempts: (int)key % 2));
        foreach (long key in Enumerable.Range(1, 20).Where(key => key % 4 == 0).Select(key => (long)key).Concat(Enumerable.Range(100, 2000).Select(key => (long)key)))
            _schedule.Replaced(key);

        Assert.Equal([14, 18, 11, 13, 15, 17, 19], _schedule.TakeKeys(_schedule.Route("b.example"), 100));
        List<long> later = [];
        while (_schedule.TryTakeDue(Noon.AddDays(1), out Waiting waiting))
            later.Add(waiting.Key);
        Assert.Equal([1, 2, 3, 5, 6, 7, 9, 10], later);
    }

    [Fact]
    public void What_is_released_goes_in_the_order_of_its_keys_and_no_other_is_moved()
    {
        var chance = new Random(1);
        foreach (long key in Enumerable.Range(1, 1000).OrderBy(_ => chance.Next()))
            _schedule.Add(Entry(key), Noon.AddMinutes(chance.Next(1, 500)));
        _schedule.Add(Entry(1001, hold: true), Noon);
        _schedule.Add(Entry(1002), Noon.AddHours(-1));
        _schedule.Release(_ => true, Noon);
        List<long> due = [];
        while (_schedule.TryTakeDue(Noon, out Waiting waiting))
            due.Add(waiting.Key);
        Assert.Equal([1002, .. Enumerable.Range(1, 1000).Select(key => (long)key)], due);
    }

    private Waiting Entry(long key, bool hold = false, int attempts = 0) => _schedule.Entry(new Delivery
    {
        Key = key,
        Id = new QueueId(key),
        Position = new SpoolPosition(8, key * 8),
        Size = 100,
        Arrival = Noon,
        ReversePath = "a@a.example",
        Route = "b.example",
        Recipients = [new OpenRecipient(0, "b@b.example")],
        Hold = hold,
        Attempts = attempts,
    });
}
