using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class SpoolKeeperTests : IDisposable
{
    private readonly State _state = new();

    [Fact]
    public async Task A_journal_whose_segment_a_killed_process_had_removed_does_not_stay_for_ever()
    {
        SpooledRecord record = Assert.Single(await _state.AcceptAsync(State.Data(20)));
        string orphan = Path.Combine(_state.Spool, SpoolFormat.DoneName(record.Position.Segment - 2));
        using (var journal = new DoneJournal(_state.Spool))
        {
            journal.Append(record.Position.Segment - 2, [new SettledRecipient(record.Position, 0)]);
        }
        Assert.True(File.Exists(orphan));

        using var reader = new SpoolReader(_state.Spool);
        using var keeper = new SpoolKeeper(_state.Spool, reader, new DoneJournal(_state.Spool));
        keeper.RemoveSettledSegments();
        Assert.False(File.Exists(orphan));
    }

    [Fact]
    public async Task Large_mail_data_that_a_power_cut_brought_back_goes_with_its_segment()
    {
        SpooledRecord record = Assert.Single(await _state.AcceptAsync(State.Data(IncomingMessage.MemoryLimit + 1)));
        string data = Path.Combine(_state.Spool, SpoolFormat.LargeDataName(record.Envelope.Id));
        Assert.True(File.Exists(data));
        var journal = new DoneJournal(_state.Spool);
        journal.Append(record.Position.Segment, [new SettledRecipient(record.Position, 0)]);

        using var reader = new SpoolReader(_state.Spool);
        using var keeper = new SpoolKeeper(_state.Spool, reader, journal);
        keeper.RemoveSettledSegments();
        Assert.False(File.Exists(data));
        Assert.Empty(SpoolScanner.Segments(_state.Spool));
    }

    [Fact]
    public async Task Large_mail_that_an_operator_deletes_is_freed_with_its_last_recipient_while_its_segment_is_open()
    {
        var records = new List<SpooledRecord>();
        using SpoolWriter writer = _state.Writer(records.AddRange);
        using IncomingMessage message = writer.NewMessage();
        QueueId id = _state.Ids.Next();
        message.Begin(id);
        message.Append(State.Data(IncomingMessage.MemoryLimit + 1));
        Assert.Equal(SpoolResult.Durable, await message.CommitAsync(State.EnvelopeOf(id, "b@example.com", "c@example.net", "d@example.com")));
        string data = Path.Combine(_state.Spool, SpoolFormat.LargeDataName(id));
        SpooledRecord record = Assert.Single(records);
        Delivery[] rows = [.. _state.Routes.Split(record.Envelope, record.Position, record.Size)];

        using var reader = new SpoolReader(_state.Spool);
        using var keeper = new SpoolKeeper(_state.Spool, reader, new DoneJournal(_state.Spool));
        keeper.Forget(rows[0]);
        keeper.RemoveSettledSegments();
        Assert.True(File.Exists(data));
        keeper.Forget(rows[1]);
        keeper.RemoveSettledSegments();
        Assert.False(File.Exists(data));
        Assert.Single(SpoolScanner.Segments(_state.Spool));
    }

    [Fact]
    public async Task A_segment_that_is_gone_is_not_remembered()
    {
        SpooledRecord record = Assert.Single(await _state.AcceptAsync(State.Data(20)));
        Delivery row = Assert.Single(_state.Routes.Split(record.Envelope, record.Position, record.Size));
        string segment = _state.SegmentPath(record.Position.Segment);
        using var reader = new SpoolReader(_state.Spool);
        using var keeper = new SpoolKeeper(_state.Spool, reader, new DoneJournal(_state.Spool));
        File.Move(segment, segment + ".away");
        Assert.Null(keeper.StillOpen(row));
        // What would tell that it was remembered: it is back, and still counts as gone.
        File.Move(segment + ".away", segment);
        Assert.NotNull(keeper.StillOpen(row));
    }

    public void Dispose() => _state.Dispose();
}
