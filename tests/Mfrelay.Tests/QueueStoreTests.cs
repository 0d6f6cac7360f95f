using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class QueueStoreTests : IDisposable
{
    private readonly State _state = new();

    public void Dispose() => _state.Dispose();

    private static Delivery Row(long offset) => new()
    {
        Id = new QueueId(offset),
        Position = new SpoolPosition(7, offset),
        Size = 10,
        Arrival = DateTimeOffset.UnixEpoch,
        ReversePath = "",
        Route = "*",
        Recipients = [new OpenRecipient(0, "b@example.net")],
    };

    [Fact]
    public async Task Rows_are_read_in_the_order_of_their_insertion_from_a_key_on()
    {
        using QueueStore store = _state.Store();
        await store.RunAsync(table =>
        {
            table.Insert(Enumerable.Range(1, 300).Select(i => Row(i)));
            return 0;
        });
        IReadOnlyList<Delivery> rows = await store.RunAsync(table => table.ReadAfter(0, 1000));
        Assert.Equal(Enumerable.Range(1, 300).Select(i => (long)i), rows.Select(row => row.Position.Offset));
        Assert.Equal(rows.Skip(100).Take(50), await store.RunAsync(table => table.ReadAfter(rows[99].Key, 50)), State.SameRow);

        Delivery changed = rows[5] with { Attempts = 3, NextAttempt = DateTimeOffset.FromUnixTimeMilliseconds(99), Hold = true, LastReply = "450 later" };
        Assert.True(await store.RunAsync(table => table.Update(changed)));
        Assert.Equal(changed, await store.RunAsync(table => Assert.Single(table.Read([changed.Key]))), State.SameRow);
        Assert.True(await store.RunAsync(table => table.Delete(changed.Key)));
        Assert.False(await store.RunAsync(table => table.Delete(changed.Key)));
        Assert.False(await store.RunAsync(table => table.Update(changed)));
        Assert.Equal(299, await store.RunAsync(table => table.ReadAfter(0, 1000).Count));
    }

    [Fact]
    public async Task A_change_that_nobody_waits_for_is_written_in_its_turn_with_the_next_work_or_a_moment_later()
    {
        var time = new VirtualTime(DateTimeOffset.UnixEpoch);
        using var store = new QueueStore(_state.Directory, () => _state.Routes, _state.Log, time);
        Task<bool> first = store.RunSoonAsync(table =>
        {
            table.Insert([Row(1)]);
            return true;
        });
        Assert.False(first.IsCompleted);
        long key = Assert.Single(await store.RunAsync(table => table.ReadAfter(0, 10))).Key;
        Assert.True(first.IsCompleted);

        Task<bool> second = store.RunSoonAsync(table => table.Delete(key));
        time.Advance(TimeSpan.FromMilliseconds(99));
        Assert.False(second.IsCompleted);
        time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.True(await second.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken));

        Task<bool> last = store.RunSoonAsync(table => table.Delete(key));
        store.Dispose();
        Assert.False(await last);
    }

    [Fact]
    public async Task Two_stores_on_one_directory_lose_no_update()
    {
        using QueueStore a = _state.Store(), b = _state.Store();
        await a.RunAsync(table =>
        {
            table.Insert([Row(0), Row(1)]);
            return 0;
        });
        long[] keys = [.. (await b.RunAsync(table => table.ReadAfter(0, 2))).Select(row => row.Key)];
        async Task Hammer(QueueStore store)
        {
            for (int i = 0; i < 40; i++)
            {
                await Task.WhenAll(keys.Select(key => store.RunAsync(table =>
                {
                    Delivery row = Assert.Single(table.Read([key]));
                    table.Insert([Row(1000 + row.Attempts)]);
                    return table.Update(row with { Attempts = row.Attempts + 1 });
                })));
            }
        }
        await Task.WhenAll(Hammer(a), Hammer(b), Hammer(a));
        foreach (long key in keys)
            Assert.Equal(120, Assert.Single(await a.RunAsync(table => table.Read([key]))).Attempts);
        Assert.Equal(242, await b.RunAsync(table => table.ReadAfter(0, 1000).Select(row => row.Key).Distinct().Count()));
        Assert.Empty(_state.LogLines("WARN_c301"));
    }

    [Fact]
    public async Task Work_while_another_store_wants_in_does_not_wait_a_second_each_turn()
    {
        using QueueStore a = _state.Store(), b = _state.Store();
        long began = TimeProvider.System.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, 30).SelectMany(_ => new[] { a.RunAsync(table => table.NextKey), b.RunAsync(table => table.NextKey) }));
        for (int i = 0; i < 10; i++)
            await Task.WhenAll(a.RunAsync(table => table.NextKey), a.RunAsync(table => table.NextKey), b.RunAsync(table => table.NextKey));
        Assert.InRange(TimeProvider.System.GetElapsedTime(began).TotalSeconds, 0, 8);
    }

    [Fact]
    public async Task Work_that_throws_faults_its_own_task_and_undoes_its_own_changes_only()
    {
        using QueueStore store = _state.Store();
        await store.RunAsync(table => table.NextKey);
        using var gate = new ManualResetEventSlim();
        Task<int> before = store.RunAsync(_ =>
        {
            gate.Wait(TestContext.Current.CancellationToken);
            return 1;
        });
        Task Insert(int i) => store.RunAsync(table =>
        {
            table.Insert([Row(i)]);
            return i == 2 ? throw new InvalidOperationException("its own fault") : i;
        });
        Task[] work = [Insert(1), Insert(2), Insert(3)];
        gate.Set();
        Assert.Equal(1, await before);
        await work[0];
        await work[2];
        Assert.Equal("its own fault", (await Assert.ThrowsAsync<InvalidOperationException>(() => work[1])).Message);
        Assert.Equal(new long[] { 1, 3 }, await store.RunAsync(table => table.ReadAfter(0, 9).Select(row => row.Position.Offset).ToArray()));
        Assert.Empty(_state.LogLines("WARN_c301"));
    }

    public static TheoryData<string> Damages => ["deleted", "deleted, log left", "empty", "truncated", "random", "random tail", "zeros", "text", "a directory"];

    [Theory]
    [MemberData(nameof(Damages))]
    public async Task A_database_that_is_damaged_while_nobody_has_it_open_is_made_again_from_the_spool(string damage)
    {
        List<SpooledRecord> records = await _state.AcceptAsync([.. Enumerable.Range(0, 300).Select(i => State.Data(20))]);
        await _state.RowsAsync();
        using (var journal = new DoneJournal(_state.Spool))
            journal.Append(records[0].Position.Segment, [.. records.Take(100).Select(record => new SettledRecipient(record.Position, 0))]);
        using QueueStore store = _state.Store();
        long generation = await store.RunAsync(table => table.Generation);

        WhileNobodyHasItOpen(() => Damage(damage));
        (long Generation, IReadOnlyList<Delivery> Rows) now = await store.RunAsync(table => (table.Generation, table.ReadAfter(0, 1000)));
        Assert.Equal(records.Skip(100).Select(record => record.Position), now.Rows.Select(row => row.Position));
        Assert.True(now.Generation > generation);
        string[] aside = Directory.GetFileSystemEntries(_state.Directory.Root, "mfrelay*.broken-*");
        Assert.Equal(damage is "deleted" or "empty" ? 0 : 1, aside.Length);
    }

    [Fact]
    public async Task Random_octets_anywhere_in_the_database_never_crash_or_hang_the_store()
    {
        List<SpooledRecord> records = await _state.AcceptAsync([.. Enumerable.Range(0, 200).Select(i => State.Data(20))]);
        await _state.RowsAsync();
        using QueueStore store = _state.Store();
        var random = new Random(20261124);
        for (int round = 0; round < 25; round++)
        {
            ChangeDatabase(bytes =>
            {
                for (int i = 0; i < 200; i++)
                    bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            });
            // Whether LiteDB notices is chance; that the store answers is not.
            await store.RunAsync(table =>
            {
                foreach (Delivery row in table.ReadAfter(0, 1000))
                    table.Update(row);
                return 0;
            }).WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        }
        WhileNobodyHasItOpen(() => File.Delete(_state.Directory.Database));
        Assert.Equal(records.Count, await store.RunAsync(table => table.ReadAfter(0, 1000).Count));
    }

    /// <summary>LiteDB reads such a page as what it is not, and may follow its rows in a circle.</summary>
    [Fact]
    public async Task A_page_in_the_place_of_another_does_not_hang_the_store()
    {
        List<SpooledRecord> records = await _state.AcceptAsync([.. Enumerable.Range(0, 400).Select(i => State.Data(20))]);
        await _state.RowsAsync();
        using QueueStore store = _state.Store();
        var random = new Random(52);
        for (int round = 0; round < 40; round++)
        {
            ChangeDatabase(bytes =>
            {
                int pages = bytes.Length / CheckedPages.PageSize;
                Array.Copy(bytes, random.Next(pages) * CheckedPages.PageSize, bytes, random.Next(pages) * CheckedPages.PageSize, CheckedPages.PageSize);
            });
            IReadOnlyList<Delivery> rows = await store.RunAsync(table => table.ReadAfter(0, 1000))
                .WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
            Assert.Equal(records.Select(record => record.Position), rows.Select(row => row.Position));
        }
    }

    [Fact]
    public async Task Pages_have_checksums_in_a_file_of_their_own()
    {
        await _state.RowsAsync();
        byte[] pages = await File.ReadAllBytesAsync(_state.Directory.Database, TestContext.Current.CancellationToken);
        byte[] sums = await File.ReadAllBytesAsync(Path.Combine(_state.Directory.Root, "mfrelay.sum"), TestContext.Current.CancellationToken);
        for (int page = 0; page < pages.Length / 8192; page++)
            Assert.Equal(Crc32C.Of(pages.AsSpan(page * 8192, 8192)), BitConverter.ToUInt32(sums, page * 8));
    }

    [Fact]
    public async Task An_older_copy_in_the_place_of_the_database_is_moved_aside()
    {
        List<SpooledRecord> first = await _state.AcceptAsync(State.Data(20), State.Data(20));
        long key = (await _state.RowsAsync())[0].Key;
        byte[] copy = await File.ReadAllBytesAsync(_state.Directory.Database, TestContext.Current.CancellationToken);
        long generation;
        using (QueueStore store = _state.Store())
        {
            generation = await store.RunAsync(table => table.Generation);
            using (var journal = new DoneJournal(_state.Spool))
                journal.Append(first[0].Position.Segment, [new SettledRecipient(first[0].Position, 0)]);
            await store.RunAsync(table => table.Delete(key));
        }
        List<SpooledRecord> second = await _state.AcceptAsync(State.Data(20));
        await _state.RowsAsync();

        await File.WriteAllBytesAsync(_state.Directory.Database, copy, TestContext.Current.CancellationToken);
        IReadOnlyList<Delivery> rows = await _state.RowsAsync();
        Assert.Equal([first[1].Position, second[0].Position], rows.Select(row => row.Position));
        using QueueStore after = _state.Store();
        Assert.True(await after.RunAsync(table => table.Generation) > generation);
        Assert.Contains("older copy", Assert.Single(_state.LogLines("WARN_c301")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_database_of_a_newer_version_is_refused_and_left_as_it_is()
    {
        await _state.RowsAsync();
        using (var database = new LiteDB.LiteDatabase(_state.Directory.Database))
        {
            LiteDB.BsonDocument meta = database.GetCollection("meta").FindById(1);
            meta["v"] = 4;
            database.GetCollection("meta").Update(meta);
        }
        File.Delete(Path.Combine(_state.Directory.Root, "mfrelay.sum"));
        byte[] before = await File.ReadAllBytesAsync(_state.Directory.Database, TestContext.Current.CancellationToken);
        using (QueueStore store = _state.Store())
            await Assert.ThrowsAsync<StateException>(() => store.RunAsync(table => table.NextKey));
        Assert.Equal(before, await File.ReadAllBytesAsync(_state.Directory.Database, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Records_that_the_table_missed_are_caught_up_when_the_next_batch_comes()
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(20), State.Data(20), State.Data(20));
        using QueueStore store = _state.Store();
        // The store was filled at its making; a batch behind it comes twice and out of step.
        List<SpooledRecord> more = await _state.AcceptAsync(State.Data(20), State.Data(20));
        for (int i = 0; i < 2; i++)
        {
            await store.RunAsync(table =>
            {
                table.InsertUpTo(SpoolOwner.Server, more[0].End, more[1].End, _state.Routes.Split(more[1].Envelope, more[1].Position, 20),
                    t => store.CatchUp(SpoolOwner.Server, t));
                return 0;
            });
        }
        Assert.Equal(records.Concat(more).Select(record => record.Position), (await _state.RowsAsync()).Select(row => row.Position));
    }

    [Fact]
    public async Task A_recipient_settled_before_the_table_was_made_is_not_in_it()
    {
        var records = new List<SpooledRecord>();
        using (SpoolWriter writer = _state.Writer(records.AddRange))
        using (IncomingMessage message = writer.NewMessage())
        {
            QueueId id = _state.Ids.Next();
            message.Begin(id);
            message.Append("x\r\n"u8);
            await message.CommitAsync(State.EnvelopeOf(id, "a@example.com", "b@example.net", "c@example.com", "d@example.net"));
        }
        using (var journal = new DoneJournal(_state.Spool))
            journal.Append(records[0].Position.Segment, [new(records[0].Position, 1), new(records[0].Position, 2), new(records[0].Position, 3)]);
        Delivery row = Assert.Single(await _state.RowsAsync());
        Assert.Equal([new OpenRecipient(0, "a@example.com")], row.Recipients);
        Assert.Equal("example.com", row.Route);
    }

    // A task is done a moment before its store closes the database.
    private void WhileNobodyHasItOpen(Action act)
    {
        using var lease = new Lease(_state.Directory.Root);
        lease.Enter();
        act();
    }

    private void ChangeDatabase(Action<byte[]> change) => WhileNobodyHasItOpen(() =>
    {
        byte[] bytes = File.ReadAllBytes(_state.Directory.Database);
        change(bytes);
        File.WriteAllBytes(_state.Directory.Database, bytes);
    });

    private void Damage(string how)
    {
        string file = _state.Directory.Database;
        byte[] bytes = File.ReadAllBytes(file);
        switch (how)
        {
            case "deleted":
                File.Delete(file);
                break;
            case "deleted, log left":
                File.Move(file, Path.Combine(_state.Directory.Root, "mfrelay-log.db"), overwrite: true);
                break;
            case "empty":
                File.WriteAllBytes(file, []);
                break;
            case "truncated":
                File.WriteAllBytes(file, bytes.AsSpan(0, bytes.Length / 2 - 100));
                break;
            case "random":
                File.WriteAllBytes(file, State.Data(bytes.Length));
                break;
            case "random tail":
                State.Data(bytes.Length - 8192).CopyTo(bytes, 8192);
                File.WriteAllBytes(file, bytes);
                break;
            case "zeros":
                File.WriteAllBytes(file, new byte[bytes.Length]);
                break;
            case "text":
                File.WriteAllText(file, "this is no database\n");
                break;
            default:
                File.Delete(file);
                Directory.CreateDirectory(file);
                break;
        }
    }
}
