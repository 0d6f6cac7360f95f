using LiteDB;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>Rows that share documents behave as rows do.</summary>
public sealed class QueueTableTests : IDisposable
{
    private readonly State _state = new();

    public void Dispose() => _state.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public async Task Rows_are_those_of_a_list_whatever_is_done_to_them_in_whatever_transactions(int seed)
    {
        var chance = new Random(seed);
        SortedDictionary<long, Delivery> expected = [];
        using QueueStore store = _state.Store();
        for (int transaction = 0; transaction < 25; transaction++)
        {
            int[] steps = [.. Enumerable.Range(0, chance.Next(1, 12)).Select(_ => chance.Next())];
            expected = await store.RunAsync(table =>
            {
                var rows = new SortedDictionary<long, Delivery>(expected);
                foreach (int step in steps)
                    Change(table, rows, new Random(step));
                return rows;
            });
            await AssertAllAsync(store, expected, chance);
        }
        await store.RunAsync(table =>
        {
            foreach (long key in expected.Keys)
                Assert.True(table.Delete(key));
        });
        await AssertAllAsync(store, [], chance);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Rows_of_older_versions_are_read_changed_and_joined_by_new_ones(int version)
    {
        SortedDictionary<long, Delivery> expected = new(Enumerable.Range(1, 40).ToDictionary(key => (long)key, key => Row(1 + (key % 3)) with { Key = key }));
        using (var database = new LiteDatabase(_state.Directory.Database))
        {
            database.GetCollection("queue").Insert(OldRows.Documents(version, expected.Values));
            database.GetCollection("meta").Insert(new BsonDocument { ["_id"] = 1, ["v"] = version, ["g"] = 7L, ["c"] = 3L, ["k"] = 41L, ["f"] = true });
        }
        using QueueStore store = _state.Store();
        await AssertAllAsync(store, expected, new Random(1));
        await store.RunAsync(table =>
        {
            Assert.True(table.Update(expected[5] = expected[5] with { Attempts = 2 }));
            Assert.True(table.Delete(17));
            Assert.True(table.Delete(16));
            Assert.False(table.Delete(16));
            foreach (Delivery row in table.ReadAfter(31, 2)) // of version 1, 32 stands where a leaf could, 33 does not
            {
                table.Delete(row);
                expected.Remove(row.Key);
            }
            expected.Remove(16);
            expected.Remove(17);
            foreach (Delivery row in Inserted(table, [Row(1), Row(2), Row(3)]))
                expected.Add(row.Key, row);
        });
        await AssertAllAsync(store, expected, new Random(2));
        Assert.Equal(7, await store.RunAsync(table => table.Generation));
        Assert.Empty(_state.LogLines("WARN"));
    }

    private static void Change(QueueTable table, SortedDictionary<long, Delivery> rows, Random chance)
    {
        long any = rows.Count == 0 ? 1 : rows.Keys.ElementAt(chance.Next(rows.Count));
        switch (chance.Next(7))
        {
            case 0 or 1:
                foreach (Delivery row in Inserted(table, [.. Enumerable.Range(0, chance.Next(1, 40)).Select(_ => Row(chance.Next(8) == 0 ? 70 : chance.Next(1, 9)))]))
                    rows.Add(row.Key, row);
                break;
            case 2:
                foreach (long key in rows.Keys.SkipWhile(key => key < any).Take(chance.Next(1, 20)).ToArray())
                {
                    Assert.True(table.Delete(key));
                    Assert.False(table.Delete(key));
                    rows.Remove(key);
                }
                break;
            case 3:
                Delivery changed = Row(3) with { Key = any, Attempts = chance.Next(1, 9), LastReply = new string('x', chance.Next(300)) };
                Assert.Equal(rows.ContainsKey(any), table.Update(changed));
                if (rows.ContainsKey(any))
                    rows[any] = changed;
                break;
            case 4:
                Assert.Equal(rows.Remove(any), table.Delete(any));
                break;
            case 5: // as they were read at some time before: whole leaves, parts, and what follows sees it
                foreach (Delivery row in rows.Values.SkipWhile(row => row.Key < any).Take(chance.Next(1, 50)).ToArray())
                {
                    table.Delete(row);
                    rows.Remove(row.Key);
                    if (chance.Next(20) == 0)
                        Assert.False(table.Delete(row.Key));
                }
                break;
            default:
                long next = table.NextKey;
                Assert.Equal(rows.Remove(any), table.Replace(any, Row(1), Row(2)));
                foreach (Delivery row in table.ReadAfter(next - 1, 10))
                {
                    Assert.Equal(any, row.Replaces);
                    rows.Add(row.Key, row);
                }
                break;
        }
    }

    private static IReadOnlyList<Delivery> Inserted(QueueTable table, Delivery[] rows)
    {
        long next = table.NextKey;
        table.Insert(rows);
        IReadOnlyList<Delivery> inserted = table.ReadAfter(next - 1, int.MaxValue);
        Assert.Equal(rows.Select(row => row.Recipients.Count), inserted.Select(row => row.Recipients.Count));
        return inserted;
    }

    private static async Task AssertAllAsync(QueueStore store, SortedDictionary<long, Delivery> expected, Random chance)
    {
        Assert.Equal(expected.Values, await store.RunAsync(table => table.ReadAfter(0, int.MaxValue)), State.SameRow);
        Assert.Equal(expected.Values, await store.RunAsync(table => table.ReadBefore(table.NextKey, int.MaxValue)), State.SameRow);
        long key = chance.NextInt64(await store.RunAsync(table => table.NextKey) + 1);
        int limit = chance.Next(1, 30);
        Assert.Equal(expected.Values.Where(row => row.Key > key).Take(limit), await store.RunAsync(table => table.ReadAfter(key, limit)), State.SameRow);
        Assert.Equal(expected.Values.Where(row => row.Key < key).TakeLast(limit), await store.RunAsync(table => table.ReadBefore(key, limit)), State.SameRow);
        long[] keys = [key, .. expected.Keys.Where(_ => chance.Next(3) == 0).Reverse(), key + 1];
        Assert.Equal(keys.Where(expected.ContainsKey).Select(key => expected[key]), await store.RunAsync(table => table.Read(keys)), State.SameRow);
    }

    private static Delivery Row(int recipients) => new()
    {
        Id = new QueueId(recipients),
        Position = new SpoolPosition(7, recipients),
        Size = 10,
        Arrival = DateTimeOffset.UnixEpoch,
        ReversePath = "a@example.org",
        Route = "*",
        Recipients = [.. Enumerable.Range(0, recipients).Select(i => new OpenRecipient(i, $"r{i}@example.com"))],
    };
}
