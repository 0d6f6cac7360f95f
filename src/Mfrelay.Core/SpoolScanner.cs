using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>What stands at one place of a segment: a record, or octets that are none.</summary>
/// <param name="Head">The record; its kind is the default (0) for damage.</param>
/// <param name="Envelope">Of a message; null for the other kinds and for damage.</param>
/// <param name="Damage">Why the octets from Position to End are no sound record; null when they are.</param>
internal readonly record struct ScannedRecord(RecordHead Head, SpoolPosition Position, SpoolPosition End, Envelope? Envelope, string? Damage);

/// <summary>Reads segments in order, over damage if need be: how the queue table is rebuilt and a start after a crash is made good.</summary>
internal static class SpoolScanner
{
    /// <summary>Read with the head of a record: the envelope of one or two recipients.</summary>
    private const int EnvelopeGuess = 512;

    internal const string EnvelopeDamage = "the envelope does not match its checksum";
    internal const string DataDamage = "the mail data does not match its checksum";

    /// <summary>The segments in the spool, oldest first.</summary>
    public static List<long> Segments(string spool)
    {
        var segments = new List<long>();
        foreach (string path in Directory.EnumerateFiles(spool, "*.seg"))
        {
            if (QueueId.TryParse(Path.GetFileNameWithoutExtension(path.AsSpan()), out QueueId id))
                segments.Add(id.Value);
        }
        segments.Sort();
        return segments;
    }

    /// <summary>Who wrote the segment; null when its header is damaged. Its records do not need one: they carry the segment's id.</summary>
    public static SpoolOwner? OwnerOf(string spool, long segment)
    {
        using SafeFileHandle file = Open(spool, segment);
        Span<byte> header = stackalloc byte[SpoolFormat.SegmentHeaderLength];
        int n = RandomAccess.Read(file, header, 0);
        return SpoolFormat.ReadSegmentHeader(header[..n], segment, out SpoolOwner owner) ? owner : null;
    }

    /// <summary>
    /// The records from an offset on. Octets that are no record are skipped to the next sound head and reported as damage.
    /// Mail data is checked only when asked for: that means reading all of it.
    /// </summary>
    public static IEnumerable<ScannedRecord> Scan(string spool, long segment, long from, bool checkData)
    {
        using SafeFileHandle? file = OpenIfThere(spool, segment);
        if (file is null)
            yield break; // all of it was settled meanwhile
        foreach (ScannedRecord record in Scan(spool, file, segment, from, checkData))
            yield return record;
    }

    /// <param name="file">The segment.</param>
    public static IEnumerable<ScannedRecord> Scan(string spool, SafeFileHandle file, long segment, long from, bool checkData)
    {
        long length = RandomAccess.GetLength(file);
        byte[] bytes = new byte[SpoolFormat.HeadLength + EnvelopeGuess];
        for (long at = Math.Max(from, SpoolFormat.SegmentHeaderLength); at < length;)
        {
            var position = new SpoolPosition(segment, at);
            int n = RandomAccess.Read(file, bytes, at);
            if (!RecordHead.TryRead(bytes.AsSpan(0, n), segment, out RecordHead head) || at + head.RecordLength > length)
            {
                long next = NextHead(file, segment, at + 8, length);
                yield return new ScannedRecord(default, position, new(segment, next), null, "no record begins here");
                at = next;
                continue;
            }
            var end = new SpoolPosition(segment, at + head.RecordLength);
            at = end.Offset;
            yield return head.IsMessage
                ? Message(spool, file, head, bytes.AsSpan(0, n), position, end, checkData)
                : new ScannedRecord(head, position, end, null, null);
        }
    }

    /// <param name="read">The head and what was read with it: mostly all of the envelope.</param>
    private static ScannedRecord Message(
        string spool, SafeFileHandle file, RecordHead head, ReadOnlySpan<byte> read, SpoolPosition position, SpoolPosition end, bool checkData)
    {
        ReadOnlySpan<byte> bytes = read[SpoolFormat.HeadLength..];
        if (bytes.Length < head.EnvelopeLength)
        {
            byte[] all = new byte[head.EnvelopeLength];
            bytes = all.AsSpan(0, RandomAccess.Read(file, all, position.Offset + SpoolFormat.HeadLength));
        }
        bytes = bytes[..Math.Min(bytes.Length, head.EnvelopeLength)];
        Envelope? envelope = bytes.Length == head.EnvelopeLength && Crc32C.Of(bytes) == head.EnvelopeCrc ? EnvelopeText.Parse(bytes) : null;
        string? damage = envelope is null ? EnvelopeDamage
            : checkData && !DataIsSound(spool, file, head, position) ? DataDamage
            : null;
        return new ScannedRecord(head, position, end, envelope, damage);
    }

    private static bool DataIsSound(string spool, SafeFileHandle file, RecordHead head, SpoolPosition position)
    {
        if (head.Kind == RecordKind.Message)
            return Checksum(file, position.Offset + SpoolFormat.HeadLength + head.EnvelopeLength, head.DataLength) == head.DataCrc;
        using SafeFileHandle? large = OpenLargeData(spool, head, out _);
        return large is not null;
    }

    /// <summary>The file with the mail data of a large message; null, with the reason, when it is missing or does not match its checksum.</summary>
    internal static SafeFileHandle? OpenLargeData(string spool, RecordHead head, out string? damage)
    {
        string path = Path.Combine(spool, SpoolFormat.LargeDataName(head.Id));
        if (!File.Exists(path))
        {
            damage = $"{path} is missing";
            return null;
        }
        SafeFileHandle file = Native.OpenToRead(path);
        damage = DataDamage;
        try
        {
            if (RandomAccess.GetLength(file) == head.DataLength && Checksum(file, 0, head.DataLength) == head.DataCrc)
                damage = null;
            return damage is null ? file : null;
        }
        finally
        {
            if (damage is not null)
                file.Dispose();
        }
    }

    /// <summary>CRC-32C of a range of a file; a range that the file does not have gives that of what there is.</summary>
    internal static uint Checksum(SafeFileHandle file, long offset, long length)
    {
        byte[] block = new byte[(int)Math.Min(length, 128 * 1024)];
        uint crc = uint.MaxValue;
        while (length > 0)
        {
            int n = RandomAccess.Read(file, block.AsSpan(0, (int)Math.Min(length, block.Length)), offset);
            if (n == 0)
                break;
            crc = Crc32C.Append(crc, block.AsSpan(0, n));
            offset += n;
            length -= n;
        }
        return ~crc;
    }

    private static long NextHead(SafeFileHandle file, long segment, long from, long length)
    {
        byte[] block = new byte[64 * 1024];
        Span<byte> magic = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(magic, SpoolFormat.Magic);
        for (long at = from; at < length; at += block.Length - SpoolFormat.HeadLength)
        {
            Span<byte> bytes = block.AsSpan(0, RandomAccess.Read(file, block, at));
            for (int i = 0; i < bytes.Length;)
            {
                int found = bytes[i..].IndexOf(magic);
                if (found < 0)
                    break;
                i += found;
                if ((at + i) % 8 == 0 && RecordHead.TryRead(bytes[i..], segment, out _))
                    return at + i;
                i++;
            }
        }
        return length;
    }

    /// <summary>
    /// True when a living process has the file open: .NET holds a shared flock on every open file, and the kernel frees it with the
    /// process. Also true for one that is gone.
    /// </summary>
    internal static bool IsInUse(string path)
    {
        try
        {
            File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
            return false;
        }
        catch (IOException)
        {
            return true;
        }
    }

    internal static SafeFileHandle? OpenIfThere(string spool, long segment)
    {
        try
        {
            return Open(spool, segment);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    internal static SafeFileHandle Open(string spool, long segment) =>
        Native.OpenToRead(Path.Combine(spool, SpoolFormat.SegmentName(segment)));
}
