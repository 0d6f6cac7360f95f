using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Settles recipients, and gives the spool back what nobody needs any more: mail data of a large message once its last recipient is
/// settled, a sealed segment once all of its recipients are. Safe for use by several threads.
/// </summary>
internal sealed class SpoolKeeper(string spool, SpoolReader reader, DoneJournal journal) : IDisposable
{
    /// <summary>Calls without news between two looks.</summary>
    private const int QuietCalls = 30;

    private readonly Lock _gate = new();
    private readonly Dictionary<long, Segment> _segments = [];

    /// <summary>Large messages of which somebody else settled recipients: perhaps the last ones.</summary>
    private readonly List<SpoolPosition> _forgotten = [];
    private bool _hasNews = true;
    private int _quietCalls;
    private bool _lookedForOrphans;

    /// <summary>Writes to the done journal; from here on a crash sends to none of them again.</summary>
    public void Settle(SpooledMessage message, SpoolPosition position, ReadOnlySpan<SettledRecipient> settled)
    {
        journal.Append(position.Segment, settled);
        lock (_gate)
        {
            _hasNews = true;
            SettledSet set = SegmentOf(position.Segment).Settled;
            foreach (SettledRecipient one in settled)
                set.Add(one.Position.Offset, one.Ordinal);
            if (message.Size > IncomingMessage.MemoryLimit)
                RemoveIfSettled(position, message.Envelope.Recipients.Count, message.Envelope.Id);
        }
    }

    /// <summary>A row of the table without the recipients that are settled: the table may lag behind the journal. Null: none is left.</summary>
    public Delivery? StillOpen(Delivery delivery)
    {
        lock (_gate)
        {
            Segment segment = SegmentOf(delivery.Position.Segment);
            if (segment.IsGone)
                return null; // removed once all was settled; a crash kept the table from hearing of it
            return segment.Settled.Without(delivery);
        }
    }

    /// <summary>
    /// Somebody else has journaled that all recipients of a row are settled (an operator deleted it): known here as well. Its mail data goes with
    /// the next <see cref="RemoveSettledSegments"/>, where a disk that fails stops nobody.
    /// </summary>
    public void Forget(Delivery delivery)
    {
        lock (_gate)
        {
            _hasNews = true;
            Segment segment = SegmentOf(delivery.Position.Segment);
            foreach (OpenRecipient recipient in delivery.Recipients)
                segment.Settled.Add(delivery.Position.Offset, recipient.Ordinal);
            if (delivery.Size > IncomingMessage.MemoryLimit)
                _forgotten.Add(delivery.Position);
        }
    }

    /// <summary>
    /// Removes every sealed segment whose recipients are all settled. Called every second; looks when something was settled since, and
    /// else now and then, because the server may have sealed a segment after that.
    /// </summary>
    public void RemoveSettledSegments()
    {
        lock (_gate)
        {
            if (!_hasNews && ++_quietCalls < QuietCalls)
                return;
            (_hasNews, _quietCalls) = (false, 0);
            if (!_lookedForOrphans)
                RemoveOrphans();
            _lookedForOrphans = true;
            RemoveForgotten();
            foreach (long segment in SpoolScanner.Segments(spool))
            {
                Segment state = SegmentOf(segment);
                state.Recipients ??= SegmentSeal.Read(Path.Combine(spool, SpoolFormat.SegmentName(segment)), segment)?.Recipients;
                if (state.Recipients is not { } total || state.Settled.Count < total)
                    continue;
                reader.Forget(segment);
                RemoveLargeData(segment);
                // The segment goes first: a journal without a segment means nothing, a segment without its journal would be sent again.
                File.Delete(Path.Combine(spool, SpoolFormat.SegmentName(segment)));
                journal.Remove(segment);
                _segments.Remove(segment);
            }
        }
    }

    private void RemoveForgotten()
    {
        foreach (SpoolPosition position in _forgotten)
        {
            RecordHead head = SpoolScanner.Scan(spool, position.Segment, position.Offset, checkData: false).FirstOrDefault().Head;
            if (head.Kind == RecordKind.LargeMessage)
                RemoveIfSettled(position, head.Recipients, head.Id);
        }
        _forgotten.Clear();
    }

    private void RemoveIfSettled(SpoolPosition position, int recipients, QueueId id)
    {
        if (!IsSettled(SegmentOf(position.Segment).Settled, position.Offset, recipients))
            return;
        // Otherwise a power cut could leave a delivery that is open and has no mail data.
        journal.Sync();
        File.Delete(Path.Combine(spool, SpoolFormat.LargeDataName(id)));
    }

    /// <summary>Nearly always gone already; but a power cut brings back a file whose removal had not reached the disk.</summary>
    private void RemoveLargeData(long segment)
    {
        if (!Directory.EnumerateFiles(spool, "*.dat").Any())
            return;
        foreach (ScannedRecord record in SpoolScanner.Scan(spool, segment, 0, checkData: false))
        {
            if (record.Head.Kind == RecordKind.LargeMessage)
                File.Delete(Path.Combine(spool, SpoolFormat.LargeDataName(record.Head.Id)));
        }
    }

    /// <summary>Journals whose segment is gone: an earlier run was killed between the two.</summary>
    private void RemoveOrphans()
    {
        foreach (string path in Directory.EnumerateFiles(spool, "*.done"))
        {
            if (QueueId.TryParse(Path.GetFileNameWithoutExtension(path.AsSpan()), out QueueId segment)
                && !File.Exists(Path.Combine(spool, SpoolFormat.SegmentName(segment.Value))))
            {
                journal.Remove(segment.Value);
            }
        }
    }

    /// <summary>Makes what is settled so far durable.</summary>
    public void Sync() => journal.Sync();

    public void Dispose() => journal.Dispose();

    private static bool IsSettled(SettledSet set, long offset, int recipients)
    {
        for (int ordinal = 0; ordinal < recipients; ordinal++)
        {
            if (!set.Contains(offset, ordinal))
                return false;
        }
        return true;
    }

    private Segment SegmentOf(long segment)
    {
        if (_segments.TryGetValue(segment, out Segment? state))
            return state;
        // One that is gone is not kept: no number comes again.
        if (!File.Exists(Path.Combine(spool, SpoolFormat.SegmentName(segment))))
            return new Segment(new SettledSet(), isGone: true);
        return _segments[segment] = new Segment(DoneJournal.Read(spool, segment), isGone: false);
    }

    private sealed class Segment(SettledSet settled, bool isGone)
    {
        public bool IsGone { get; } = isGone;

        public SettledSet Settled { get; } = settled;

        /// <summary>Of the whole segment; known once it is sealed.</summary>
        public int? Recipients { get; set; }
    }
}
