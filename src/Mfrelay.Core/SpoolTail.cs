using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>New mail as mf-smtp-server acknowledges it, read from its segments ahead of the table. Not for use by several threads.</summary>
public sealed class SpoolTail(string spool) : IDisposable
{
    private readonly DurableEnd _durable = new(spool);
    private SpoolPosition _next;
    private SpoolPosition _known;

    /// <summary>The segment that was read last, open as long as there is more to come: an open file keeps its room on the disk, also when it is removed.</summary>
    private SafeFileHandle? _file;
    private long _fileSegment;

    /// <summary>How far mf-smtp-server has acknowledged; the start of the spool when that is not known.</summary>
    public SpoolPosition End => _durable.Read() ?? default;

    /// <summary>Everything before the end of a record is known otherwise: reading goes on there.</summary>
    public void SkipTo(SpoolPosition end)
    {
        if (end > _next)
            _next = end;
    }

    /// <summary>The record that begins at this position and all before it are known otherwise.</summary>
    public void SkipOver(SpoolPosition begin)
    {
        if (begin > _known)
            _known = begin;
    }

    /// <summary>
    /// The next messages, at most so many. A place that cannot be read is left to the indexing, which sets it aside and says so.
    /// </summary>
    public IReadOnlyList<SpooledRecord> Read(int limit)
    {
        List<SpooledRecord> records = [];
        if (_durable.Read() is not { } end)
            return records;
        if (_next >= end)
            Close();
        while (_next < end && records.Count < limit)
        {
            long segment = _next.Segment;
            ReadSegment(end, limit, records);
            if (segment == end.Segment || records.Count >= limit)
                break;
            // Server's segments have even numbers (QueueIdSource).
            long following = SpoolScanner.Segments(spool).Find(other => other > segment && (other & 1) == 0);
            _next = following == 0 ? end : new SpoolPosition(following, 0);
        }
        return records;
    }

    private void ReadSegment(SpoolPosition end, int limit, List<SpooledRecord> records)
    {
        if (Open(_next.Segment) is not { } file)
            return; // all of it was settled meanwhile
        foreach (ScannedRecord record in SpoolScanner.Scan(spool, file, _next.Segment, _next.Offset, checkData: false))
        {
            if (record.Position >= end || records.Count >= limit || record.Damage is not null)
                return;
            _next = record.End;
            if (record.Position > _known && record.Envelope is { } envelope)
                records.Add(new SpooledRecord(envelope, record.Position, record.End, record.Head.DataLength));
        }
    }

    private SafeFileHandle? Open(long segment)
    {
        if (_file is not null && _fileSegment == segment)
            return _file;
        Close();
        _fileSegment = segment;
        return _file = SpoolScanner.OpenIfThere(spool, segment);
    }

    private void Close()
    {
        _file?.Dispose();
        _file = null;
    }

    public void Dispose()
    {
        Close();
        _durable.Dispose();
    }
}
