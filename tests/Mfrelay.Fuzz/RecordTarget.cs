using System.Buffers;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Fuzz;

/// <summary>
/// Heads and envelopes of the spool, in memory. The first octet says whether the head's checksum is made right, which no mutation would do. Oracles:
/// a slow checksum; what is read is written again as the same octets; a record has a length.
/// </summary>
internal static class RecordTarget
{
    private const long Segment = 0x0123456789ABCDE;

    private static readonly ArrayBufferWriter<byte> Written = new();

    public static FuzzTarget Target { get; } = new("record", Run, FuzzTarget.Words(
        "mfrelay-envelope 1\n", "id 0d8k0g4_2q001\n", "arrival 1732427566123\n", "client 192.0.2.1:40112\n", "helo x\n", "protocol ESMTP\n", "from ", "to ", "body 1\n", "smtputf8\n",
        "ret 2\n", "envid ", "notify 6\n", "orcpt rfc822;", "\n", "MFR1", "99999999999999999999", "-1", "9223372036854775807"));

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.Length < 1 + SpoolFormat.HeadLength)
            return;
        Span<byte> head = stackalloc byte[SpoolFormat.HeadLength];
        input.Slice(1, SpoolFormat.HeadLength).CopyTo(head);
        if ((input[0] & 1) != 0)
            Seal(head, Segment);
        CheckHead(head);
        CheckEnvelope(input[(1 + SpoolFormat.HeadLength)..]);
    }

    /// <summary>Makes the octets those of a head: magic and checksum.</summary>
    public static void Seal(Span<byte> head, long segment)
    {
        BitConverter.TryWriteBytes(head, SpoolFormat.Magic);
        BitConverter.TryWriteBytes(head[44..], SlowCrc(SeedOf(segment), head[..44]));
    }

    /// <summary>CRC-32C bit by bit, a running one as <see cref="Crc32C.Append"/> has it.</summary>
    public static uint SlowCrc(uint crc, ReadOnlySpan<byte> octets)
    {
        foreach (byte b in octets)
        {
            crc ^= b;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc >> 1) ^ (0x82F63B78 & (uint)-(int)(crc & 1));
        }
        return crc;
    }

    private static uint SeedOf(long segment) => (uint)segment ^ (uint)(segment >> 32);

    private static void CheckHead(ReadOnlySpan<byte> octets)
    {
        bool read = RecordHead.TryRead(octets, Segment, out RecordHead head);
        bool sound = BitConverter.ToUInt32(octets) == SpoolFormat.Magic && BitConverter.ToUInt32(octets[44..]) == SlowCrc(SeedOf(Segment), octets[..44]);
        Oracle.Holds(!read || sound, "no head without magic and checksum");
        Oracle.Holds(!RecordHead.TryRead(octets, Segment + 2, out _) || !read, "no head of another segment");
        if (!read)
            return;
        Oracle.Holds(head.RecordLength >= SpoolFormat.HeadLength && head.RecordLength % 8 == 0, "a record has a length");
        Oracle.Holds(head.RecordLength >= head.EnvelopeLength + head.InlineLength, "a record is longer than its parts");
        Oracle.Holds(head.Recipients >= 0, "a record has recipients or none");
    }

    private static void CheckEnvelope(ReadOnlySpan<byte> octets)
    {
        if (EnvelopeText.Parse(octets) is not { } envelope)
            return;
        Oracle.Holds(envelope.Recipients.Count > 0 && envelope.Id != default, "an envelope has an id and a recipient");
        Written.ResetWrittenCount();
        EnvelopeText.Write(envelope, Written);
        Envelope? again = EnvelopeText.Parse(Written.WrittenSpan);
        Oracle.Holds(again is not null && again with { Recipients = envelope.Recipients } == envelope && again.Recipients.SequenceEqual(envelope.Recipients),
            $"written again it is the same: {Encoding.UTF8.GetString(octets)}");
    }
}
