using System.Collections.Concurrent;
using System.Reflection;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class SpoolTests : IDisposable
{
    private readonly State _state = new();

    public void Dispose() => _state.Dispose();

    [Fact]
    public async Task Messages_of_every_size_from_many_sessions_read_back_octet_for_octet()
    {
        int[] sizes = [0, 1, 2, 4096, IncomingMessage.MemoryLimit, IncomingMessage.MemoryLimit + 1, 3_000_000];
        var records = new ConcurrentDictionary<QueueId, SpooledRecord>();
        var data = new ConcurrentDictionary<QueueId, byte[]>();
        using (SpoolWriter writer = _state.Writer(batch =>
        {
            foreach (SpooledRecord record in batch)
                records[record.Envelope.Id] = record;
        }))
        {
            await Parallel.ForEachAsync(Enumerable.Range(0, 8), async (session, _) =>
            {
                using IncomingMessage message = writer.NewMessage();
                foreach (int size in sizes)
                {
                    QueueId id = _state.Ids.Next();
                    byte[] bytes = data[id] = State.Data(size, session);
                    message.Begin(id);
                    for (int at = 0; at < size; at += 5000)
                        message.Append(bytes.AsSpan(at, Math.Min(5000, size - at)));
                    Assert.Equal(SpoolResult.Durable, await message.CommitAsync(State.EnvelopeOf(id)));
                    Assert.True(records.ContainsKey(id), "the position is handed out before the session goes on");
                }
            });
        }
        using var reader = new SpoolReader(_state.Spool);
        foreach (SpooledRecord record in records.Values)
        {
            using SpooledMessage message = reader.Open(DeliveryOf(record), out string? damage) ?? throw new InvalidOperationException(damage);
            Assert.Equal(data[record.Envelope.Id], State.BytesOf(message));
            Assert.Equal(record.Envelope.Id, message.Envelope.Id);
            Assert.Equal(!System.Text.Ascii.IsValid(data[record.Envelope.Id]), message.EightBit);
        }
        Assert.Equal(8 * sizes.Length, records.Count);
        Assert.Equal(16, Directory.GetFiles(_state.Spool, "*.dat").Length);
        Assert.Empty(Directory.GetFiles(_state.Spool, "*.tmp"));
        Assert.All(_state.Sealed(), seal => Assert.NotNull(seal));
    }

    [Theory]
    [InlineData(int.MaxValue, 0L, 1)]
    [InlineData(100, 1L << 40, 1)]
    [InlineData(100, long.MaxValue - 60, 1)]
    [InlineData(100, 100L, -1)]
    public void A_record_with_impossible_lengths_is_damage_and_no_exception(int envelope, long data, int recipients)
    {
        QueueId segment = _state.Ids.Next();
        byte[] bytes = new byte[SpoolFormat.SegmentHeaderLength + SpoolFormat.HeadLength];
        SpoolFormat.WriteSegmentHeader(bytes, segment.Value, SpoolOwner.Server);
        var head = new RecordHead { Kind = RecordKind.Message, EnvelopeLength = envelope, DataLength = data, Recipients = recipients, Id = segment };
        head.Write(bytes.AsSpan(SpoolFormat.SegmentHeaderLength), segment.Value);
        File.WriteAllBytes(Path.Combine(_state.Spool, SpoolFormat.SegmentName(segment.Value)), bytes);

        ScannedRecord record = Assert.Single(SpoolScanner.Scan(_state.Spool, segment.Value, 0, checkData: true));
        Assert.NotNull(record.Damage);
        Assert.Equal(bytes.Length, record.End.Offset);
        using var reader = new SpoolReader(_state.Spool);
        var delivery = new Delivery
        {
            Id = segment,
            Position = new(segment.Value, SpoolFormat.SegmentHeaderLength),
            Size = 100,
            Arrival = default,
            ReversePath = "",
            Route = "",
            Recipients = [],
        };
        Assert.Null(reader.Open(delivery, out string? damage));
        Assert.NotNull(damage);
    }

    [Fact]
    public async Task Messages_that_wait_while_a_batch_is_written_share_the_next_sync()
    {
        int batches = 0;
        using var first = new ManualResetEventSlim();
        using SpoolWriter writer = _state.Writer(_ =>
        {
            batches++;
            first.Wait(TestContext.Current.CancellationToken);
        });
        ValueTask<SpoolResult> Send()
        {
            QueueId id = _state.Ids.Next();
            IncomingMessage message = writer.NewMessage();
            message.Begin(id);
            message.Append("x\r\n"u8);
            return message.CommitAsync(State.EnvelopeOf(id));
        }
        var sent = new List<Task> { Send().AsTask() };
        while (Volatile.Read(ref batches) == 0)
            await Task.Delay(1, TestContext.Current.CancellationToken);
        for (int i = 0; i < 20; i++)
            sent.Add(Send().AsTask());
        Assert.False(sent[0].IsCompleted);
        first.Set();
        await Task.WhenAll(sent);
        Assert.Equal(2, batches);
    }

    [Fact]
    public async Task A_full_segment_is_sealed_and_positions_ascend_into_the_next()
    {
        var records = new List<SpooledRecord>();
        using (SpoolWriter writer = _state.Writer(records.AddRange, segmentLimit: 10_000))
        using (IncomingMessage message = writer.NewMessage())
        {
            for (int i = 0; i < 20; i++)
            {
                QueueId id = _state.Ids.Next();
                message.Begin(id);
                message.Append(State.Data(3000));
                await message.CommitAsync(State.EnvelopeOf(id, "b@example.com", "c@example.com"));
            }
        }
        Assert.Equal(records.Select(record => record.Position).Order(), records.Select(record => record.Position));
        var seals = _state.Sealed();
        Assert.InRange(seals.Count, 5, 7);
        Assert.Equal(40, seals.Sum(seal => seal!.Value.Recipients));
        Assert.Equal(records[^1].Envelope.Id, seals[^1]!.Value.Id);
    }

    [Fact]
    public void A_message_that_is_abandoned_leaves_no_file()
    {
        using SpoolWriter writer = _state.Writer();
        using IncomingMessage message = writer.NewMessage();
        message.Begin(_state.Ids.Next());
        message.Append(State.Data(1_000_000));
        Assert.Single(Directory.GetFiles(_state.Spool, "*.tmp"));
        message.Abandon();
        Assert.Empty(Directory.GetFiles(_state.Spool));
        Assert.Equal(0, message.Length);
    }

    [Fact]
    public async Task A_disk_that_runs_full_does_not_stay_full_because_of_a_settled_segment_that_is_still_open()
    {
        using SpoolWriter writer = _state.Writer();
        using IncomingMessage message = writer.NewMessage();
        async Task AcceptAsync(int size)
        {
            QueueId id = _state.Ids.Next();
            message.Begin(id);
            message.Append(State.Data(size));
            Assert.Equal(SpoolResult.Durable, await message.CommitAsync(State.EnvelopeOf(id)));
        }

        await AcceptAsync(200_000);
        writer.SealSoon(); // too small to matter
        await AcceptAsync(200_000);
        Assert.Null(Assert.Single(_state.Sealed()));
        for (int i = 0; i < 5; i++)
            await AcceptAsync(250_000);
        writer.SealSoon();
        for (int i = 0; i < 500 && _state.Sealed()[0] is null; i++)
            await Task.Delay(10, TestContext.Current.CancellationToken);
        Assert.Equal(7, Assert.Single(_state.Sealed())!.Value.Recipients);
        await AcceptAsync(10);
        Assert.Equal(2, _state.Sealed().Count);
    }

    [Fact]
    public async Task A_disk_that_large_mail_fills_does_not_stay_full_because_its_small_segment_is_still_open()
    {
        using SpoolWriter writer = _state.Writer();
        using IncomingMessage message = writer.NewMessage();
        QueueId id = _state.Ids.Next();
        message.Begin(id);
        message.Append(State.Data(2_000_000));
        Assert.Equal(SpoolResult.Durable, await message.CommitAsync(State.EnvelopeOf(id)));
        writer.SealSoon();
        for (int i = 0; i < 500 && _state.Sealed()[0] is null; i++)
            await Task.Delay(10, TestContext.Current.CancellationToken);
        Assert.Equal(1, Assert.Single(_state.Sealed())!.Value.Recipients);
    }

    [Fact]
    public async Task A_spool_that_cannot_be_written_refuses_the_message_and_takes_the_next_one_when_it_can()
    {
        using SpoolWriter writer = _state.Writer();
        var reasons = new ConcurrentQueue<string>();
        writer.Troubled = reasons.Enqueue;
        using IncomingMessage message = writer.NewMessage();
        string away = _state.Spool + ".away";
        Directory.Move(_state.Spool, away);
        Assert.Equal(SpoolResult.Failed, await CommitAsync());
        Assert.Equal(SpoolResult.Failed, await CommitAsync());
        Assert.Contains(_state.Spool, Assert.Single(reasons), StringComparison.Ordinal); // told once
        Directory.Move(away, _state.Spool);
        Assert.Equal(SpoolResult.Durable, await CommitAsync());
        Assert.Single(SpoolScanner.Segments(_state.Spool));

        async Task<SpoolResult> CommitAsync()
        {
            QueueId id = _state.Ids.Next();
            message.Begin(id);
            message.Append("x\r\n"u8);
            return await message.CommitAsync(State.EnvelopeOf(id));
        }
    }

    /// <summary>O_DIRECTORY of x64 is O_DIRECT on arm64: a spool could not be written there at all.</summary>
    [Fact]
    public void No_number_is_given_to_the_C_library_that_means_something_else_on_arm64()
    {
        int[] differ = [0x4000, 0x8000, 0x10000, 0x20000]; // O_DIRECTORY, O_NOFOLLOW, O_DIRECT, O_LARGEFILE change places (fcntl.h)
        int[] ours = [.. typeof(Native).GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic).Where(field => field.IsLiteral).Select(field => (int)field.GetRawConstantValue()!)];
        Assert.NotEmpty(ours);
        Assert.All(ours, number => Assert.DoesNotContain(differ, bit => (number & bit) != 0));
    }

    [Fact]
    public async Task A_last_record_torn_at_any_length_is_dropped_and_all_before_it_are_kept()
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(100), State.Data(50), State.Data(64));
        string path = _state.SegmentPath(records[0].Position.Segment);
        byte[] whole = await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);
        int begin = (int)records[2].Position.Offset;
        for (int length = begin; length < (int)records[2].End.Offset; length++)
        {
            File.WriteAllBytes(path, whole.AsSpan(0, length));
            _state.StartAgain();
            Assert.Equal([records[0].Position, records[1].Position], Messages());
            Assert.Equal(2, SegmentSeal.Read(path, records[0].Position.Segment)!.Value.Recipients);
            Assert.Equal(begin + SpoolFormat.HeadLength, new FileInfo(path).Length);
        }
        Assert.Equal(2, (await _state.RowsAsync()).Count);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(8)]
    [InlineData(1000)]
    [InlineData(200_000)]
    public async Task Garbage_behind_the_last_record_is_set_aside(int length)
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(100), State.Data(50));
        long segment = records[0].Position.Segment;
        _state.Unseal(segment, records[1].End.Offset);
        await File.AppendAllBytesAsync(_state.SegmentPath(segment), State.Data(length), TestContext.Current.CancellationToken);
        _state.StartAgain();
        _state.StartAgain();
        Assert.Equal(records.Select(record => record.Position), Messages());
        Assert.Equal(State.Data(length), await File.ReadAllBytesAsync(Assert.Single(_state.Damaged()), TestContext.Current.CancellationToken));
        Assert.Single(_state.LogLines("WARN_c304"));
    }

    [Fact]
    public async Task A_start_after_a_crash_without_room_for_what_is_half_written_is_a_start_all_the_same()
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(100), State.Data(50));
        (long segment, long end) = (records[0].Position.Segment, records[1].End.Offset);
        _state.Unseal(segment, end);
        await File.AppendAllBytesAsync(_state.SegmentPath(segment), State.Data(1000), TestContext.Current.CancellationToken);
        // Where the copy is made first; a full disk stands there.
        string damaged = Directory.CreateDirectory(Path.Combine(_state.Directory.Root, "queue", "damaged")).FullName;
        File.CreateSymbolicLink(Path.Combine(damaged, $"{new QueueId(segment)}-{end}.{Environment.ProcessId}"), "/dev/full");
        _state.StartAgain();
        Assert.Equal(records.Select(record => record.Position), Messages());
        Assert.Null(Assert.Single(_state.Sealed()));
        Assert.Empty(_state.Damaged());
        Assert.True(_state.Ids.Next().Value > records[1].Envelope.Id.Value);

        _state.StartAgain();
        Assert.Equal(2, Assert.Single(_state.Sealed())!.Value.Recipients);
        Assert.Equal(State.Data(1000), await File.ReadAllBytesAsync(Assert.Single(_state.Damaged()), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_start_after_a_crash_removes_mail_data_that_no_record_names_and_keeps_what_one_names()
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(300_000));
        _state.Unseal(records[0].Position.Segment, records[0].End.Offset);
        string stray = Path.Combine(_state.Spool, SpoolFormat.LargeDataName(_state.Ids.Next()));
        await File.WriteAllBytesAsync(stray, [1], TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(Path.ChangeExtension(stray, ".tmp"), [1], TestContext.Current.CancellationToken);
        _state.StartAgain();
        Assert.Equal(SpoolFormat.LargeDataName(records[0].Envelope.Id), Path.GetFileName(Assert.Single(Directory.GetFiles(_state.Spool, "*.dat"))));
        Assert.Empty(Directory.GetFiles(_state.Spool, "*.tmp"));
    }

    [Fact]
    public async Task A_start_of_the_server_leaves_alone_what_the_client_is_writing()
    {
        using SpoolWriter writer = _state.Writer(owner: SpoolOwner.Client);
        using IncomingMessage bounce = writer.NewMessage();
        QueueId id = new QueueIdSource(TimeProvider.System, owner: SpoolOwner.Client).Next();
        bounce.Begin(id);
        bounce.Append(State.Data(300_000));
        _state.StartAgain();
        Assert.Equal(SpoolResult.Durable, await bounce.CommitAsync(State.EnvelopeOf(id)));
        _state.StartAgain();
        Assert.True(File.Exists(Path.Combine(_state.Spool, SpoolFormat.LargeDataName(id))));
        Assert.Null(_state.Sealed()[0]);
    }

    [Fact]
    public void An_empty_segment_of_a_crash_is_removed() =>
        Assert.Empty(AfterStartWith(SpoolFormat.SegmentName(_state.Ids.Next().Value), [1, 2, 3]));

    [Theory]
    [InlineData(20, false)]   // head
    [InlineData(60, false)]   // envelope
    [InlineData(-70, true)]   // mail data
    public async Task A_flipped_bit_costs_no_other_message(int at, bool indexed)
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(1000), State.Data(5000), State.Data(1000));
        SpooledRecord middle = records[1];
        State.FlipBit(_state.SegmentPath(middle.Position.Segment), (at < 0 ? middle.End : middle.Position).Offset + at);
        for (int i = 0; i < 2; i++)
        {
            File.Delete(_state.Directory.Database);
            IReadOnlyList<Delivery> rows = await _state.RowsAsync();
            Assert.Equal(records.Where(record => indexed || record != middle).Select(record => record.Position), rows.Select(row => row.Position));
        }
        Assert.Equal(indexed ? 0 : 1, _state.Damaged().Length);
        Assert.Equal(indexed ? 0 : 1, _state.LogLines("WARN_c304").Length);
        if (!indexed)
            Assert.Equal(middle.End.Offset - middle.Position.Offset, new FileInfo(_state.Damaged()[0]).Length);
        using var reader = new SpoolReader(_state.Spool);
        foreach (SpooledRecord record in records)
        {
            using SpooledMessage? message = reader.Open(DeliveryOf(record), out string? damage);
            Assert.Equal(record == middle, damage is not null);
            Assert.Equal(record == middle, message is null);
        }
    }

    [Fact]
    public async Task Damaged_mail_data_in_an_unsealed_segment_counts_in_its_seal_or_the_segment_would_go_too_early()
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(1000), State.Data(1000), State.Data(1000));
        long segment = records[0].Position.Segment;
        _state.Unseal(segment, records[2].End.Offset);
        State.FlipBit(_state.SegmentPath(segment), records[1].End.Offset - 100);
        _state.StartAgain();
        Assert.Equal(3, (await _state.RowsAsync()).Count);
        Assert.Equal(3, _state.Sealed()[0]!.Value.Recipients);
    }

    [Fact]
    public async Task A_damaged_segment_header_costs_no_message()
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(1000), State.Data(1000));
        long segment = records[0].Position.Segment;
        _state.Unseal(segment, records[1].End.Offset);
        State.FlipBit(_state.SegmentPath(segment), 14);
        _state.StartAgain();
        Assert.Equal(2, (await _state.RowsAsync()).Count);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Large_mail_data_that_is_damaged_or_gone_is_reported(bool gone)
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(500_000));
        string path = Directory.GetFiles(_state.Spool, "*.dat")[0];
        if (gone)
            File.Delete(path);
        else
            State.FlipBit(path, 400_000);
        using var reader = new SpoolReader(_state.Spool);
        Assert.Null(reader.Open(DeliveryOf(records[0]), out string? damage));
        Assert.NotNull(damage);
    }

    [Fact]
    public async Task A_row_that_points_at_another_message_does_not_send_that_one()
    {
        List<SpooledRecord> records = await _state.AcceptAsync(State.Data(10), State.Data(10));
        using var reader = new SpoolReader(_state.Spool);
        Assert.Null(reader.Open(DeliveryOf(records[0]) with { Id = records[1].Envelope.Id }, out string? damage));
        Assert.Contains(records[0].Envelope.Id.ToString(), damage, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Threads_that_read_more_segments_than_may_be_open_disturb_each_other_not()
    {
        var records = new List<SpooledRecord>();
        using (SpoolWriter writer = _state.Writer(records.AddRange, segmentLimit: 100))
        using (IncomingMessage message = writer.NewMessage())
        {
            for (int i = 0; i < 80; i++)
            {
                QueueId id = _state.Ids.Next();
                message.Begin(id);
                message.Append(State.Data(200));
                await message.CommitAsync(State.EnvelopeOf(id));
            }
        }
        using var reader = new SpoolReader(_state.Spool);
        Parallel.For(0, 2000, i =>
        {
            using SpooledMessage? message = reader.Open(DeliveryOf(records[i * 7 % records.Count]), out string? damage);
            Assert.Null(damage);
        });
    }

    private static Delivery DeliveryOf(SpooledRecord record) => new RouteTable([]).Split(record.Envelope, record.Position, record.Size).First();

    private string[] AfterStartWith(string name, byte[] bytes)
    {
        File.WriteAllBytes(Path.Combine(_state.Spool, name), bytes);
        _state.StartAgain();
        return Directory.GetFiles(_state.Spool);
    }

    private List<SpoolPosition> Messages() =>
        [.. SpoolScanner.Segments(_state.Spool)
            .SelectMany(segment => SpoolScanner.Scan(_state.Spool, segment, 0, checkData: true))
            .Where(record => record is { Damage: null, Envelope: not null })
            .Select(record => record.Position)];
}
