using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Core;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>What a relay may go through between two starts, at random: the table is always what was acknowledged minus what was settled.</summary>
public sealed class RecoveryTests
{
    private enum Step
    {
        Accept,
        AcceptLarge,
        Settle,
        Crash,
        Start,
        LoseDatabase,
    }

    [Fact]
    public void After_any_history_the_table_holds_what_was_acknowledged_and_not_settled() =>
        Prop.ForAll(
            Gen.Frequency(
                    (8, Gen.Constant(Step.Accept)),
                    (1, Gen.Constant(Step.AcceptLarge)),
                    (5, Gen.Constant(Step.Settle)),
                    (2, Gen.Constant(Step.Crash)),
                    (1, Gen.Constant(Step.Start)),
                    (1, Gen.Constant(Step.LoseDatabase)))
                .Zip(Gen.Choose(0, 1_000_000))
                .ListOf().ToArbitrary(),
            steps => Holds([.. steps]).GetAwaiter().GetResult())
        .Check(Config.QuickThrowOnFailure.WithMaxTest(40).WithEndSize(30));

    private static async Task<bool> Holds((Step Step, int Number)[] steps)
    {
        using var state = new State();
        var open = new SortedSet<(long Segment, long Offset, int Ordinal)>();
        using var journal = new DoneJournal(state.Spool);
        var writer = new Run(state);
        foreach ((Step step, int number) in steps)
        {
            switch (step)
            {
                case Step.Accept:
                case Step.AcceptLarge:
                    SpooledRecord record = await writer.AcceptAsync(step == Step.Accept ? number % 3000 : IncomingMessage.MemoryLimit + 1, number);
                    for (int i = 0; i < record.Envelope.Recipients.Count; i++)
                        open.Add((record.Position.Segment, record.Position.Offset, i));
                    break;
                case Step.Settle when open.Count > 0:
                    var settled = open.ElementAt(number % open.Count);
                    journal.Append(settled.Segment, [new(new(settled.Segment, settled.Offset), settled.Ordinal)]);
                    open.Remove(settled);
                    break;
                case Step.Settle:
                    break;
                case Step.Crash:
                    writer.Crash(number);
                    writer = new Run(state);
                    break;
                case Step.Start:
                    writer.Dispose();
                    state.StartAgain();
                    writer = new Run(state);
                    await state.RowsAsync();
                    break;
                case Step.LoseDatabase:
                    File.Delete(state.Directory.Database);
                    break;
            }
        }
        writer.Dispose();
        state.StartAgain();
        File.Delete(state.Directory.Database);
        var rows = (await state.RowsAsync())
            .SelectMany(row => row.Recipients, (row, recipient) => (row.Position.Segment, row.Position.Offset, recipient.Ordinal));
        return open.SequenceEqual(rows.Order());
    }

    /// <summary>A run of the server, which ends in good order or in a crash.</summary>
    private sealed class Run : IDisposable
    {
        private readonly State _state;
        private readonly SpoolWriter _writer;
        private readonly IncomingMessage _message;
        private SpooledRecord _last;

        public Run(State state)
        {
            _state = state;
            _writer = state.Writer(records => _last = records[^1], segmentLimit: 20_000);
            _message = _writer.NewMessage();
        }

        public async Task<SpooledRecord> AcceptAsync(int size, int seed)
        {
            QueueId id = _state.Ids.Next();
            _message.Begin(id);
            _message.Append(State.Data(size, seed));
            string[] to = [.. Enumerable.Range(0, 1 + seed % 3).Select(i => $"r{i}@example{i % 2}.com")];
            if (await _message.CommitAsync(State.EnvelopeOf(id, to)) != SpoolResult.Durable)
                throw new InvalidOperationException("not durable");
            return _last;
        }

        /// <summary>Leaves the segment as a crash does in the middle of a record, and a database of whatever age.</summary>
        public void Crash(int number)
        {
            long last = _last.End.Offset;
            Dispose();
            if (last > 0)
            {
                string path = _state.SegmentPath(_last.Position.Segment);
                byte[] record = File.ReadAllBytes(path).AsSpan((int)_last.Position.Offset, (int)(last - _last.Position.Offset)).ToArray();
                using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
                // Half of a record, or one whose data did not get to the disk.
                RandomAccess.SetLength(file, last);
                if (number % 2 == 0)
                    RandomAccess.Write(file, record.AsSpan(0, number % record.Length), last);
                else
                    RandomAccess.Write(file, new byte[number % 5000], last);
            }
            _state.StartAgain();
        }

        public void Dispose()
        {
            _message.Dispose();
            _writer.Dispose();
        }
    }
}
