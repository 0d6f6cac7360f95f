using System.Buffers.Binary;

namespace Mfrelay.Core;

/// <summary>
/// The bytes of a segment file (queue/smtp/ID.seg), version 1, little endian, frozen by a test.
/// <code>
/// segment  = header record*                        records begin at multiples of 8
/// header   = "MFSPOOL\n" u32 version  u32 writer  i64 segment-id  u32 0  u32 crc(of the 28 octets before)
/// record   = head envelope mail-data zero-padding
/// head     = u32 magic  u8 kind  u8 flags  u16 0  u32 envelope-length  u32 envelope-crc  i64 data-length  u32 data-crc
///            u32 recipients  i64 queue-id  u32 0  u32 crc(of the 44 octets before, seeded with the segment id)
/// </code>
/// Message: envelope and mail data follow. LargeMessage: the envelope follows, mail data is the file QUEUE-ID.dat. Seal: the last record;
/// recipients counts all of the segment. Gap: data-length octets that held settled messages and may have been given back to the file system.
/// </summary>
internal static class SpoolFormat
{
    public const int Version = 1;
    public const int SegmentHeaderLength = 32;
    public const int HeadLength = 48;
    public const uint Magic = 0x3152464D; // "MFR1"

    public static ReadOnlySpan<byte> SegmentMagic => "MFSPOOL\n"u8;

    public static string SegmentName(long segment) => $"{new QueueId(segment)}.seg";
    public static string DoneName(long segment) => $"{new QueueId(segment)}.done";
    public static string LargeDataName(QueueId id) => $"{id}.dat";

    public static long Padded(long length) => (length + 7) & ~7L;

    public static void WriteSegmentHeader(Span<byte> to, long segment, SpoolOwner owner)
    {
        to[..SegmentHeaderLength].Clear();
        SegmentMagic.CopyTo(to);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], Version);
        BinaryPrimitives.WriteInt32LittleEndian(to[12..], (int)owner);
        BinaryPrimitives.WriteInt64LittleEndian(to[16..], segment);
        BinaryPrimitives.WriteUInt32LittleEndian(to[28..], Crc32C.Of(to[..28]));
    }

    /// <summary>False for a header that is damaged or belongs to another segment; a newer version throws.</summary>
    public static bool ReadSegmentHeader(ReadOnlySpan<byte> from, long segment, out SpoolOwner owner)
    {
        owner = default;
        if (from.Length < SegmentHeaderLength || !from[..8].SequenceEqual(SegmentMagic)
            || Crc32C.Of(from[..28]) != BinaryPrimitives.ReadUInt32LittleEndian(from[28..])
            || BinaryPrimitives.ReadInt64LittleEndian(from[16..]) != segment)
        {
            return false;
        }
        int version = BinaryPrimitives.ReadInt32LittleEndian(from[8..]);
        if (version > Version)
            throw new StateException($"spool segment {SegmentName(segment)} has format {version}; this program knows {Version}. Install the newer version again");
        owner = (SpoolOwner)BinaryPrimitives.ReadInt32LittleEndian(from[12..]);
        return true;
    }
}

/// <summary>Which process writes a segment; each has its own open one and its own mark. The numbers are on disk.</summary>
public enum SpoolOwner
{
    Server = 0,
    Client = 1,
}

/// <summary>The numbers are on disk.</summary>
internal enum RecordKind : byte
{
    Message = 1,
    LargeMessage = 2,
    Seal = 3,
    Gap = 4,
}

/// <summary>The numbers are on disk.</summary>
[Flags]
internal enum RecordFlags : byte
{
    None = 0,

    /// <summary>Mail data has an octet above 127.</summary>
    EightBit = 1,
}

/// <summary>The fixed part of a record.</summary>
internal readonly record struct RecordHead
{
    public RecordKind Kind { get; init; }
    public RecordFlags Flags { get; init; }
    public int EnvelopeLength { get; init; }
    public uint EnvelopeCrc { get; init; }
    public long DataLength { get; init; }
    public uint DataCrc { get; init; }
    public int Recipients { get; init; }
    public QueueId Id { get; init; }

    /// <summary>Octets of mail data or gap inside the segment.</summary>
    public long InlineLength => Kind is RecordKind.Message or RecordKind.Gap ? DataLength : 0;

    /// <summary>Octets from the head to the next record.</summary>
    public long RecordLength => SpoolFormat.HeadLength + SpoolFormat.Padded(EnvelopeLength + InlineLength);

    /// <summary>Far more than a message may have, and no sum of lengths and offsets overflows.</summary>
    private const long MaxDataLength = 1L << 48;

    public bool IsMessage => Kind is RecordKind.Message or RecordKind.LargeMessage;

    public void Write(Span<byte> to, long segment)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(to, SpoolFormat.Magic);
        to[4] = (byte)Kind;
        to[5] = (byte)Flags;
        to[6] = to[7] = 0;
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], EnvelopeLength);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], EnvelopeCrc);
        BinaryPrimitives.WriteInt64LittleEndian(to[16..], DataLength);
        BinaryPrimitives.WriteUInt32LittleEndian(to[24..], DataCrc);
        BinaryPrimitives.WriteInt32LittleEndian(to[28..], Recipients);
        BinaryPrimitives.WriteInt64LittleEndian(to[32..], Id.Value);
        BinaryPrimitives.WriteInt32LittleEndian(to[40..], 0);
        BinaryPrimitives.WriteUInt32LittleEndian(to[44..], Checksum(to[..44], segment));
    }

    /// <summary>False when these are not the octets of a head of this segment.</summary>
    public static bool TryRead(ReadOnlySpan<byte> from, long segment, out RecordHead head)
    {
        head = default;
        if (from.Length < SpoolFormat.HeadLength
            || BinaryPrimitives.ReadUInt32LittleEndian(from) != SpoolFormat.Magic
            || BinaryPrimitives.ReadUInt32LittleEndian(from[44..]) != Checksum(from[..44], segment))
        {
            return false;
        }
        head = new RecordHead
        {
            Kind = (RecordKind)from[4],
            Flags = (RecordFlags)from[5],
            EnvelopeLength = BinaryPrimitives.ReadInt32LittleEndian(from[8..]),
            EnvelopeCrc = BinaryPrimitives.ReadUInt32LittleEndian(from[12..]),
            DataLength = BinaryPrimitives.ReadInt64LittleEndian(from[16..]),
            DataCrc = BinaryPrimitives.ReadUInt32LittleEndian(from[24..]),
            Recipients = BinaryPrimitives.ReadInt32LittleEndian(from[28..]),
            Id = new QueueId(BinaryPrimitives.ReadInt64LittleEndian(from[32..])),
        };
        return head is { EnvelopeLength: >= 0, DataLength: >= 0 and <= MaxDataLength, Recipients: >= 0 } && head.Kind is >= RecordKind.Message and <= RecordKind.Gap;
    }

    // A record that lies in another file than the one it was written to is no record.
    private static uint Checksum(ReadOnlySpan<byte> bytes, long segment) => Crc32C.Append((uint)segment ^ (uint)(segment >> 32), bytes);
}
