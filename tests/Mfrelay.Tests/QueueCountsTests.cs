extern alias cli;

using cli::Mfrelay.Cli;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class QueueCountsTests
{
    private static readonly QueueSummary Written = new(CommandRun.Now, 10, [new RouteSummary("example.com", 5, 5120, 0, 1, CommandRun.Now, CommandRun.Now, "")]);

    [Theory]
    [InlineData(11, 0, 6)]
    [InlineData(11, 7, 5)] // the summary has the one whose place it took
    public void Rows_above_the_last_key_of_the_summary_are_added(long key, long replaces, int expected)
    {
        var counts = new QueueCounts(Written, CommandRun.Now);
        counts.Add(CommandRun.Delivery(1, "example.com", TimeSpan.Zero) with { Key = key, Replaces = replaces });
        Assert.Equal(expected, counts.ToSummary().Routes[0].Count);
    }

    [Fact]
    public void A_row_that_is_replaced_while_rows_are_counted_is_counted_once()
    {
        var counts = new QueueCounts(null, CommandRun.Now);
        Delivery row = CommandRun.Delivery(1, "example.com", TimeSpan.Zero);
        counts.Add(row with { Key = 1 });
        counts.Add(row with { Key = 3, Replaces = 1 });
        counts.Add(row with { Key = 4, Replaces = 3 });
        counts.Add(row with { Key = 5, Replaces = 2 });
        Assert.Equal(2, counts.ToSummary().Routes[0].Count);
    }
}
