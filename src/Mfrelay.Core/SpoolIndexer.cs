using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>Brings the queue table up to what the spool holds: after a crash, after the database was lost, after an older copy was put in its place.</summary>
internal sealed class SpoolIndexer(string spool, SpoolOwner owner, RouteTable routes, MailLog log)
{
    private const int RowsPerTransaction = 2000;

    /// <summary>
    /// Inserts what lies beyond the mark of this owner's segments, without what the done journal calls settled. Returns how many rows.
    /// </summary>
    /// <param name="inTransaction">Runs an action in a transaction of its own.</param>
    public int CatchUp(Action<Action<QueueTable>> inTransaction)
    {
        SpoolPosition mark = default;
        inTransaction(table => mark = table.Mark(owner));
        int count = 0;
        var rows = new List<Delivery>();
        void Flush()
        {
            inTransaction(table =>
            {
                table.Insert(rows);
                table.SetMark(owner, mark);
            });
            count += rows.Count;
            rows.Clear();
        }

        foreach (long segment in SpoolScanner.Segments(spool))
        {
            if (segment < mark.Segment || !IsOurs(segment))
                continue;
            SettledSet settled = DoneJournal.Read(spool, segment);
            long from = segment == mark.Segment ? mark.Offset : 0;
            foreach (ScannedRecord record in Sound(segment, from))
            {
                if (record.Envelope is not null)
                    rows.AddRange(OpenDeliveries(record, settled));
                mark = record.End;
                if (rows.Count >= RowsPerTransaction)
                    Flush();
            }
        }
        Flush();
        return count;
    }

    /// <summary>
    /// Makes this owner's segments of an earlier run good: cuts what a crash left half written at the end (it was never acknowledged),
    /// seals them, removes mail data that no record names. Only the owner calls this, before it writes anything.
    /// Returns the highest id in use, beyond which new ones begin, even when the clock was set back.
    /// </summary>
    public static long SealLeftovers(string spool, SpoolOwner owner, MailLog log)
    {
        long highest = 0;
        foreach (long segment in SpoolScanner.Segments(spool))
        {
            highest = Math.Max(highest, segment);
            try
            {
                highest = Math.Max(highest, SealOrRemove(spool, owner, segment, log));
            }
            catch (FileNotFoundException)
            {
                // All of it was settled meanwhile.
            }
        }
        if (owner == SpoolOwner.Server)
            RemoveUnnamedData(spool);
        return highest;
    }

    private static long SealOrRemove(string spool, SpoolOwner owner, long segment, MailLog log)
    {
        string path = Path.Combine(spool, SpoolFormat.SegmentName(segment));
        if (SegmentSeal.Read(path, segment) is { } seal)
            return seal.Id.Value;
        SpoolOwner? writer = SpoolScanner.OwnerOf(spool, segment);
        if (writer is null && new FileInfo(path).Length <= SpoolFormat.SegmentHeaderLength)
        {
            // A crash between making the file and writing its header.
            if (!SpoolScanner.IsInUse(path))
                File.Delete(path);
            return 0;
        }
        return (writer ?? SpoolOwner.Server) == owner ? SealLeftover(spool, segment, path, log) : 0;
    }

    private static long SealLeftover(string spool, long segment, string path, MailLog log)
    {
        long end = SpoolFormat.SegmentHeaderLength;
        int recipients = 0, unsure = 0;
        long highest = segment;
        foreach (ScannedRecord record in SpoolScanner.Scan(spool, segment, 0, checkData: true))
        {
            // Damage with something sound behind it stays, for the reader to set aside; damage at the end is a torn write.
            if (record.Damage is not null)
            {
                // Its mail data is damaged but it will be in the table: the segment must outlive those behind it.
                if (record.Envelope is not null)
                    unsure += record.Head.Recipients;
            }
            else
            {
                end = record.End.Offset;
                recipients += record.Head.Recipients + unsure;
                unsure = 0;
                highest = Math.Max(highest, record.Head.Id.Value);
            }
        }
        try
        {
            using SafeFileHandle handle = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            long length = RandomAccess.GetLength(handle);
            if (end < length)
            {
                SetAside(spool, handle, segment, end, length, "a crash left it half written; it was never acknowledged", log);
                RandomAccess.SetLength(handle, end);
            }
            SegmentSeal.Append(handle, segment, end, recipients, new QueueId(highest));
        }
        catch (IOException e) when (SpoolWriter.Passes(e))
        {
            // No room: who is to make some must start. Unsealed is only untidy, the next start finds it.
        }
        return highest;
    }

    /// <summary>A crash may leave mail data whose record was not written: it was never acknowledged.</summary>
    private static void RemoveUnnamedData(string spool)
    {
        foreach (string path in Directory.GetFiles(spool, "*.tmp").Where(path => !SpoolScanner.IsInUse(path)))
            File.Delete(path);
        // In this order: what the other process still writes now may have a record, and be closed, a moment later.
        string[] files = [.. Directory.GetFiles(spool, "*.dat").Where(path => !SpoolScanner.IsInUse(path))];
        if (files.Length == 0)
            return;
        var named = new HashSet<string>(StringComparer.Ordinal);
        foreach (long segment in SpoolScanner.Segments(spool))
        {
            foreach (ScannedRecord record in SpoolScanner.Scan(spool, segment, 0, checkData: false))
            {
                if (record.Damage is not null && !record.Head.IsMessage)
                    return; // a record that names one may be lost in there: keep them all
                if (record.Head.Kind == RecordKind.LargeMessage)
                    named.Add(SpoolFormat.LargeDataName(record.Head.Id));
            }
        }
        foreach (string path in files)
        {
            if (!named.Contains(Path.GetFileName(path)))
                File.Delete(path);
        }
    }

    /// <summary>A segment whose header is damaged has no owner that could be known: the server's.</summary>
    private bool IsOurs(long segment)
    {
        try
        {
            return (SpoolScanner.OwnerOf(spool, segment) ?? SpoolOwner.Server) == owner;
        }
        catch (FileNotFoundException)
        {
            return false; // all of it was settled meanwhile
        }
    }

    private IEnumerable<ScannedRecord> Sound(long segment, long from)
    {
        ScannedRecord? damaged = null;
        foreach (ScannedRecord record in SpoolScanner.Scan(spool, segment, from, checkData: false))
        {
            if (damaged is { } before)
            {
                // Something sound follows, so this is no write in progress at the end of a segment.
                using SafeFileHandle handle = SpoolScanner.Open(spool, segment);
                SetAside(spool, handle, segment, before.Position.Offset, before.End.Offset, before.Damage!, log);
                damaged = null;
            }
            if (record.Damage is null)
                yield return record;
            else
                damaged = record;
        }
    }

    private IEnumerable<Delivery> OpenDeliveries(ScannedRecord record, SettledSet settled)
    {
        foreach (Delivery delivery in routes.Split(record.Envelope!, record.Position, record.Head.DataLength))
        {
            if (settled.Without(delivery) is { } open)
                yield return open;
        }
    }

    /// <summary>Copies octets that are no sound record to queue/damaged, where an operator finds them.</summary>
    internal static void SetAside(string spool, SafeFileHandle from, long segment, long start, long end, string reason, MailLog log)
    {
        string directory = Path.Combine(Path.GetDirectoryName(spool)!, "damaged");
        Directory.CreateDirectory(directory);
        string path = Path.Combine(directory, $"{new QueueId(segment)}-{start}");
        if (File.Exists(path))
            return;
        byte[] bytes = new byte[Math.Min(end - start, 64 * 1024 * 1024)];
        int n = RandomAccess.Read(from, bytes, start);
        string unfinished = $"{path}.{Environment.ProcessId}";
        try
        {
            File.WriteAllBytes(unfinished, bytes.AsSpan(0, n));
        }
        catch (IOException)
        {
            File.Delete(unfinished); // half of it helps nobody, and may be the last room there was
            throw;
        }
        File.Move(unfinished, path, overwrite: true);
        log.SpoolDamaged(SpoolFormat.SegmentName(segment), start, end - start, reason, path);
    }
}
