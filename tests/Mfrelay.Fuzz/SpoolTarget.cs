using Mfrelay.Core;

namespace Mfrelay.Fuzz;

/// <summary>
/// A segment file, read in order and by position. The input is records: an octet that says which checksums are made right, then head, envelope and
/// mail data, each as long as its head says, or garbage to the end. Oracles: records follow one another without gap up to the end; what is called
/// sound has the right checksums by a slow one; nothing but a newer version throws.
/// </summary>
internal static class SpoolTarget
{
    private const long Segment = 0x0123456789ABCDE;

    private static readonly byte[] File = new byte[8192];
    private static string? _spool;
    private static SpoolReader? _reader;

    private static string Spool => _spool ??= Memory.NewDirectory();

    public static FuzzTarget Target { get; } = new("spool", Run, [.. FuzzTarget.Words(
        "MFR1", "mfrelay-envelope 1\n", "id 0d8k0g4_2q001\n", "from \n", "to b@example.com\n", "arrival 1732427566123\n", "Subject: x\r\n\r\n", "\n"), [1, 0, 0, 0], [2, 0, 0, 0], [3, 0, 0, 0], [4, 0, 0, 0]]);

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        int length = Make(input);
        string path = Path.Combine(Spool, SpoolFormat.SegmentName(Segment));
        using (FileStream file = new(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite, 0))
        {
            file.SetLength(0);
            file.Write(File.AsSpan(0, length));
        }
        SpoolOwner? owner = null;
        try
        {
            owner = SpoolScanner.OwnerOf(Spool, Segment);
        }
        catch (StateException) when (BitConverter.ToInt32(File, 8) > SpoolFormat.Version)
        {
            // A newer version says so.
        }
        Oracle.Holds(owner is null || File.AsSpan(0, 8).SequenceEqual(SpoolFormat.SegmentMagic), "an owner is that of a segment");
        SegmentSeal.Read(path, Segment);
        CheckScan(length);
    }

    // The first octet: bit 0 a sound header of the segment.
    private static int Make(ReadOnlySpan<byte> input)
    {
        int at = 0;
        if ((input[0] & 1) != 0)
        {
            SpoolFormat.WriteSegmentHeader(File, Segment, SpoolOwner.Server);
            at = SpoolFormat.SegmentHeaderLength;
        }
        input = input[1..];
        while (!input.IsEmpty && at % 8 == 0 && at + input.Length < File.Length - 64)
        {
            byte right = input[0];
            input = input[1..];
            int head = at;
            if ((right & 1) == 0 || input.Length < SpoolFormat.HeadLength)
                break;
            input[..SpoolFormat.HeadLength].CopyTo(File.AsSpan(head));
            input = input[SpoolFormat.HeadLength..];
            Span<byte> octets = File.AsSpan(head, SpoolFormat.HeadLength);
            // Lengths of mutated octets would reach beyond every file: most are cut to what is there.
            int envelope = (right & 2) != 0 ? Math.Min(BitConverter.ToUInt16(octets[8..]), input.Length) : 0;
            int data = (right & 2) != 0 ? Math.Min(BitConverter.ToUInt16(octets[16..]), input.Length - envelope) : 0;
            input[..(envelope + data)].CopyTo(File.AsSpan(head + SpoolFormat.HeadLength));
            if ((right & 2) != 0)
            {
                BitConverter.TryWriteBytes(octets[8..], envelope);
                BitConverter.TryWriteBytes(octets[16..], (long)data);
            }
            if ((right & 4) != 0)
                BitConverter.TryWriteBytes(octets[12..], ~RecordTarget.SlowCrc(uint.MaxValue, input[..envelope]));
            if ((right & 8) != 0)
                BitConverter.TryWriteBytes(octets[24..], ~RecordTarget.SlowCrc(uint.MaxValue, input.Slice(envelope, data)));
            RecordTarget.Seal(octets, Segment);
            input = input[(envelope + data)..];
            at = head + SpoolFormat.HeadLength + envelope + data;
            int padded = (int)SpoolFormat.Padded(at);
            File.AsSpan(at, padded - at).Clear();
            at = padded;
        }
        int rest = Math.Min(input.Length, File.Length - at);
        input[..rest].CopyTo(File.AsSpan(at));
        return at + rest;
    }

    private static void CheckScan(int length)
    {
        long at = SpoolFormat.SegmentHeaderLength;
        foreach (ScannedRecord record in SpoolScanner.Scan(Spool, Segment, 0, checkData: true))
        {
            Oracle.Holds(record.Position.Offset == at && record.End.Offset > at && record.End.Offset <= length, "records follow one another to the end");
            at = record.End.Offset;
            if (record.Head.IsMessage && record.Damage is null)
            {
                Oracle.Holds(record.Envelope is not null, "a sound record has an envelope");
                CheckSums(record);
            }
            CheckOpen(record);
        }
        Oracle.Holds(at == Math.Max(length, SpoolFormat.SegmentHeaderLength), "the last record ends with the file");
    }

    private static void CheckSums(ScannedRecord record)
    {
        int from = (int)record.Position.Offset + SpoolFormat.HeadLength;
        Oracle.Holds(~RecordTarget.SlowCrc(uint.MaxValue, File.AsSpan(from, record.Head.EnvelopeLength)) == record.Head.EnvelopeCrc, "the envelope has its checksum");
        if (record.Head.Kind == RecordKind.Message)
            Oracle.Holds(~RecordTarget.SlowCrc(uint.MaxValue, File.AsSpan(from + record.Head.EnvelopeLength, (int)record.Head.DataLength)) == record.Head.DataCrc, "mail data has its checksum");
    }

    private static void CheckOpen(ScannedRecord record)
    {
        _reader ??= new SpoolReader(Spool);
        // The queue row may say anything about the size.
        var delivery = new Delivery { Id = record.Head.Id, Position = record.Position, Size = record.Head.DataCrc, Arrival = default, ReversePath = "", Route = "", Recipients = [] };
        using SpooledMessage? message = _reader.Open(delivery, out string? damage);
        Oracle.Holds(message is null == damage is not null, "a message, or what is wrong with it");
        Oracle.Holds(message is not null == (record.Head.IsMessage && record.Damage is null), "read by position it is the same");
        if (message is null)
            return;
        ReadOnlySpan<byte> data = message.Read(0, default).Span;
        Oracle.Holds(data.Length == record.Head.DataLength && ~RecordTarget.SlowCrc(uint.MaxValue, data) == record.Head.DataCrc, "what is read has its checksum");
    }
}
