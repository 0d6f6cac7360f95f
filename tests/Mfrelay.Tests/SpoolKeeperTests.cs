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

    public void Dispose() => _state.Dispose();
}
