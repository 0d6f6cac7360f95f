using System.Buffers.Binary;
using Mfrelay.Core;

namespace Mfrelay.Fuzz;

/// <summary>
/// Done journals. The first octet says which entries get a right checksum. Oracles: a slow reader; a journal that was cut off has no entry that the
/// whole one has not; what is written is read.
/// </summary>
internal static class JournalTarget
{
    private const long Segment = 0x0123456789ABCDE;
    private const int Entry = 16;
    private const uint Seed = unchecked((uint)Segment ^ (uint)(Segment >> 32));

    private static readonly byte[] Octets = new byte[1024];

    public static FuzzTarget Target { get; } = new("journal", Run, FuzzTarget.Words("MFDONE1\n", "\0\0\0\0", "\x20\0\0\0\0\0\0\0"));

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        byte right = input[0];
        input = input[1..];
        input.CopyTo(Octets);
        Span<byte> journal = Octets.AsSpan(0, input.Length);
        for (int at = 0, i = 0; at + Entry <= journal.Length; at += Entry, i++)
        {
            if ((right >> (i & 7) & 1) != 0)
                BinaryPrimitives.WriteUInt32LittleEndian(journal[(at + 12)..], Checksum(journal.Slice(at, 12)));
        }
        Check(journal);
    }

    private static void Check(ReadOnlySpan<byte> journal)
    {
        SettledSet settled = DoneJournal.Parse(journal, Segment);
        var expected = new HashSet<long>();
        for (int at = 0; at + Entry <= journal.Length; at += Entry)
        {
            long key = BinaryPrimitives.ReadInt64LittleEndian(journal[at..]);
            if (BinaryPrimitives.ReadUInt32LittleEndian(journal[(at + 12)..]) != Checksum(journal.Slice(at, 12)))
                continue;
            expected.Add(key);
            Oracle.Holds(settled.Contains(key >> 16, (int)(key & 0xFFFF)), "an entry with a right checksum counts");
        }
        Oracle.Holds(settled.Count == expected.Count, "an entry with a wrong checksum counts for nothing");
        int cut = journal.Length / 2;
        Oracle.Holds(DoneJournal.Parse(journal[..cut], Segment).Count <= settled.Count, "cut off it has no more");
        Oracle.Holds(DoneJournal.Parse(journal, Segment + 2).Count == 0 || expected.Count == 0, "entries of another segment count for nothing");
    }

    private static uint Checksum(ReadOnlySpan<byte> octets) => RecordTarget.SlowCrc(Seed, octets);
}
