using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Mfrelay.Fuzz;

/// <summary>
/// Which branches the instrumented code has taken: SharpFuzz counts each pair of branches in one octet of a table of 64 Ki (as AFL does).
/// Clearing and looking through the table costs more than most inputs do, so many inputs share one look; only when they have found something
/// are they run again one by one.
/// </summary>
internal sealed unsafe class Coverage : IDisposable
{
    private const int Size = 1 << 16;

    private static readonly byte* Table = (byte*)NativeMemory.AlignedAlloc(Size, 64);

    /// <summary>0xFF: nobody has been there yet.</summary>
    private readonly byte* _unseen = (byte*)NativeMemory.AlignedAlloc(Size, 64);

    /// <summary>A bit for each order of magnitude of counts that has not been seen.</summary>
    private readonly byte* _unseenCounts = (byte*)NativeMemory.AlignedAlloc(Size, 64);

    public Coverage()
    {
        NativeMemory.Fill(_unseen, Size, 0xFF);
        NativeMemory.Fill(_unseenCounts, Size, 0xFF);
    }

    /// <summary>Instrumented code writes to address 0 before this.</summary>
    public static void Attach()
    {
        NativeMemory.Clear(Table, Size);
        SharpFuzz.Common.Trace.SharedMem = Table;
    }

    /// <summary>Pairs of branches seen so far.</summary>
    public int Edges { get; private set; }

    public static void Clear()
    {
        NativeMemory.Clear(Table, Size);
        SharpFuzz.Common.Trace.PrevLocation = 0;
    }

    /// <summary>Whether somebody has been where nobody was before.</summary>
    public bool HasNewEdge()
    {
        for (int i = 0; i < Size; i += 128)
        {
            Vector256<byte> found =
                (~Vector256.Equals(Vector256.LoadAligned(Table + i), Vector256<byte>.Zero) & Vector256.LoadAligned(_unseen + i))
                | (~Vector256.Equals(Vector256.LoadAligned(Table + i + 32), Vector256<byte>.Zero) & Vector256.LoadAligned(_unseen + i + 32))
                | (~Vector256.Equals(Vector256.LoadAligned(Table + i + 64), Vector256<byte>.Zero) & Vector256.LoadAligned(_unseen + i + 64))
                | (~Vector256.Equals(Vector256.LoadAligned(Table + i + 96), Vector256<byte>.Zero) & Vector256.LoadAligned(_unseen + i + 96));
            if (found != Vector256<byte>.Zero)
                return true;
        }
        return false;
    }

    /// <summary>After one input alone: adds what it did; true when that is new, in the branches or how often they were taken.</summary>
    public bool Merge()
    {
        bool isNew = false;
        for (int word = 0; word < Size; word += 8)
        {
            if (*(ulong*)(Table + word) == 0)
                continue;
            for (int i = word; i < word + 8; i++)
            {
                if (Table[i] == 0)
                    continue;
                if (_unseen[i] != 0)
                {
                    _unseen[i] = 0;
                    Edges++;
                }
                byte magnitude = Magnitude(Table[i]);
                isNew |= (_unseenCounts[i] & magnitude) != 0;
                _unseenCounts[i] &= (byte)~magnitude;
            }
        }
        return isNew;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_unseen);
        NativeMemory.AlignedFree(_unseenCounts);
    }

    private static byte Magnitude(byte count) => count switch
    {
        1 => 1,
        2 => 2,
        3 => 4,
        < 8 => 8,
        < 16 => 16,
        < 32 => 32,
        < 128 => 64,
        _ => 128,
    };
}
