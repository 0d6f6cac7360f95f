using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>
/// The end of a done journal, read as it grows: all that indexing new mail needs of it, which else would read the whole journal for every
/// batch. Not for use by several threads.
/// </summary>
internal sealed class DoneTail(string spool)
{
    private const int Block = 4096 * DoneJournal.EntryLength;

    private SettledSet _settled = new();
    private long _segment = -1;
    private long _from;
    private long _read;

    /// <summary>The settled recipients of the records from an offset on.</summary>
    public SettledSet Of(long segment, long from)
    {
        if (segment != _segment || from < _from)
            (_settled, _segment, _read) = (new SettledSet(), segment, 0);
        _from = from;
        _settled.RemoveBefore(from);
        try
        {
            using SafeFileHandle file = Native.OpenToRead(Path.Combine(spool, SpoolFormat.DoneName(segment)));
            ReadOn(file);
        }
        catch (FileNotFoundException)
        {
            // Nothing of it is settled, or all.
        }
        return _settled;
    }

    private void ReadOn(SafeFileHandle file)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent(Block);
        int n;
        for (long at = _read; (n = RandomAccess.Read(file, bytes.AsSpan(0, Block), at)) >= DoneJournal.EntryLength; at += n)
        {
            n -= n % DoneJournal.EntryLength;
            for (int i = 0; i < n; i += DoneJournal.EntryLength)
            {
                if (!DoneJournal.TryReadEntry(bytes.AsSpan(i, DoneJournal.EntryLength), _segment, out long key))
                    continue; // read again the next time, unless a sound one follows: it may be half written yet
                _read = at + i + DoneJournal.EntryLength;
                if (DoneJournal.OffsetOf(key) >= _from)
                    _settled.Add(key);
            }
        }
        ArrayPool<byte>.Shared.Return(bytes);
    }
}
