using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class QueueIdTests
{
    [Theory]
    [InlineData(0, "0000000000000")]
    [InlineData(10, "000000000000_")]
    [InlineData(31, "000000000000z")]
    [InlineData(32, "0000000000010")]
    [InlineData(1L << 55, "0100000000000")]
    [InlineData(long.MaxValue, "7zzzzzzzzzzzz")]
    public void The_text_of_an_id_is_frozen_and_reads_back(long value, string text)
    {
        var id = new QueueId(value);
        Assert.Equal(text, id.ToString());
        byte[] ascii = new byte[QueueId.Length];
        id.Format(ascii);
        Assert.Equal(text, System.Text.Encoding.ASCII.GetString(ascii));
        Assert.True(QueueId.TryParse(text, out QueueId back));
        Assert.Equal(id, back);
    }

    [Theory]
    [InlineData("")]
    [InlineData("000000000000")]
    [InlineData("00000000000000")]
    [InlineData("000000000000a")]
    [InlineData("000000000000Z")]
    [InlineData("8000000000000")]
    [InlineData("zzzzzzzzzzzzz")]
    public void What_is_no_id_is_refused(string text) => Assert.False(QueueId.TryParse(text, out _));

    [Fact]
    public void The_text_sorts_as_the_number_does()
    {
        var random = new Random(1);
        long[] values = [.. Enumerable.Range(0, 5000).Select(i => random.NextInt64() >> (i % 60)).Order()];
        string[] texts = [.. values.Select(value => new QueueId(value).ToString())];
        Assert.Equal(string.Join('\n', texts.Order(StringComparer.Ordinal)), string.Join('\n', texts));
    }

    [Fact]
    public void Ids_ascend_even_when_the_clock_is_set_back()
    {
        var time = new VirtualTime(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)) { PassesPerReading = TimeSpan.FromMicroseconds(30) };
        var ids = new QueueIdSource(time);
        var given = new List<long>();
        for (int i = 0; i < 30_000; i++)
            given.Add(ids.Next().Value);
        time.Offset = TimeSpan.FromDays(-2000);
        for (int i = 0; i < 100; i++)
            given.Add(ids.Next().Value);
        Assert.Equal(given.Order().Distinct(), given);
        Assert.True(new QueueIdSource(time, given[^1]).Next().Value > given[^1]);
    }

    [Fact]
    public void Server_and_client_never_give_out_the_same_id_in_the_same_millisecond()
    {
        var time = new VirtualTime(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        QueueIdSource server = new(time), client = new(time, owner: SpoolOwner.Client);
        QueueId[] ids = [.. Enumerable.Range(0, 1000).SelectMany(_ => new[] { server.Next(), client.Next() })];
        Assert.Equal(ids.Length, ids.Distinct().Count());
    }

    [Fact]
    public void Threads_get_ids_of_their_own()
    {
        var ids = new QueueIdSource(TimeProvider.System);
        var given = new System.Collections.Concurrent.ConcurrentBag<QueueId>();
        Parallel.For(0, 20_000, _ => given.Add(ids.Next()));
        Assert.Equal(20_000, given.Distinct().Count());
    }
}
