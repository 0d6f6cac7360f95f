using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>A recipient that needs nothing more: delivered, bounced or deleted.</summary>
public readonly record struct SettledRecipient(SpoolPosition Position, int Ordinal);

/// <summary>
/// The done journal: SEGMENT.done beside each segment, one 16-octet entry per settled recipient. It outranks the queue table: a row that
/// an entry contradicts is out of date. Version 1, little endian, frozen by a test.
/// <code>
/// file  = "MFDONE1\n" i64 segment-id entry*
/// entry = i64 record offset shifted left by 16 | recipient ordinal   u32 0   u32 crc(of the 12 octets before, seeded with the segment id)
/// </code>
/// An entry whose checksum is wrong (a torn write) counts for nothing: its recipient may be sent to again.
/// </summary>
public sealed class DoneJournal(string spool) : IDisposable
{
    internal const int EntryLength = 16;
    private const int OrdinalBits = 16;
    private const int OpenFiles = 64;

    /// <summary>The highest number of recipients that an envelope may have.</summary>
    public const int MaxRecipients = 1 << OrdinalBits;

    /// <summary>One sync after the other, so that each returns when all before it is durable. Taken before <see cref="_gate"/>.</summary>
    private readonly Lock _syncing = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<long, SafeFileHandle> _files = [];
    private readonly HashSet<long> _unsynced = [];
    private bool _newNames;

    private static ReadOnlySpan<byte> FileMagic => "MFDONE1\n"u8;

    /// <summary>
    /// Writes entries of one segment with one call: once it returns, a crash of the process loses none of them.
    /// A power cut may, until <see cref="Sync"/>.
    /// </summary>
    public void Append(long segment, ReadOnlySpan<SettledRecipient> settled)
    {
        Span<byte> bytes = settled.Length <= 32 ? stackalloc byte[32 * EntryLength] : new byte[settled.Length * EntryLength];
        for (int i = 0; i < settled.Length; i++)
            WriteEntry(bytes[(i * EntryLength)..], segment, Key(settled[i].Position.Offset, settled[i].Ordinal));
        lock (_gate)
        {
            RandomAccess.Write(FileOf(segment), bytes[..(settled.Length * EntryLength)], 0);
            _unsynced.Add(segment);
        }
    }

    /// <summary>Makes all entries so far durable. Whoever appends meanwhile does not wait for the disk.</summary>
    public void Sync()
    {
        lock (_syncing)
        {
            bool newNames;
            long[] segments;
            SafeFileHandle[] files;
            lock (_gate)
            {
                (newNames, _newNames) = (_newNames, false);
                segments = [.. _unsynced];
                files = [.. segments.Where(_files.ContainsKey).Select(segment => _files[segment])];
                _unsynced.Clear();
            }
            try
            {
                SyncAll(newNames, files);
            }
            catch
            {
                lock (_gate)
                {
                    _newNames |= newNames;
                    _unsynced.UnionWith(segments);
                }
                throw;
            }
        }
    }

    private void SyncAll(bool newNames, IEnumerable<SafeFileHandle> files)
    {
        if (newNames)
            Native.SyncDirectory(spool);
        foreach (SafeFileHandle file in files)
        {
            try
            {
                Native.DataSync(file);
            }
            catch (ObjectDisposedException)
            {
                // Removed with its segment, or synced when it was closed.
            }
        }
    }

    /// <summary>The settled recipients of a segment.</summary>
    public static SettledSet Read(string spool, long segment)
    {
        try
        {
            return Parse(File.ReadAllBytes(Path.Combine(spool, SpoolFormat.DoneName(segment))), segment);
        }
        catch (FileNotFoundException)
        {
            return new SettledSet();
        }
    }

    internal static SettledSet Parse(ReadOnlySpan<byte> bytes, long segment)
    {
        var settled = new SettledSet();
        for (; bytes.Length >= EntryLength; bytes = bytes[EntryLength..])
        {
            if (TryReadEntry(bytes, segment, out long key))
                settled.Add(key);
        }
        return settled;
    }

    /// <summary>False: a torn write, or the head of the file.</summary>
    internal static bool TryReadEntry(ReadOnlySpan<byte> bytes, long segment, out long key)
    {
        key = BinaryPrimitives.ReadInt64LittleEndian(bytes);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]) == Checksum(bytes[..12], segment);
    }

    /// <summary>Closes and removes the journal of a segment whose file has been removed.</summary>
    public void Remove(long segment)
    {
        lock (_gate)
        {
            if (_files.Remove(segment, out SafeFileHandle? file))
                file.Dispose();
            _unsynced.Remove(segment);
            File.Delete(Path.Combine(spool, SpoolFormat.DoneName(segment)));
        }
    }

    public void Dispose()
    {
        Sync();
        lock (_gate)
            CloseAll();
    }

    internal static long Key(long offset, int ordinal) => offset << OrdinalBits | (uint)ordinal;

    internal static long OffsetOf(long key) => key >> OrdinalBits;

    private static void WriteEntry(Span<byte> to, long segment, long key)
    {
        BinaryPrimitives.WriteInt64LittleEndian(to, key);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], 0);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], Checksum(to[..12], segment));
    }

    private static uint Checksum(ReadOnlySpan<byte> bytes, long segment) => Crc32C.Append((uint)segment ^ (uint)(segment >> 32), bytes);

    private SafeFileHandle FileOf(long segment)
    {
        if (_files.TryGetValue(segment, out SafeFileHandle? file))
            return file;
        if (_files.Count >= OpenFiles)
        {
            // All of them: those that another thread is about to sync too.
            SyncAll(_newNames, _files.Values);
            _newNames = false;
            _unsynced.Clear();
            CloseAll();
        }
        file = Native.OpenForAppend(Path.Combine(spool, SpoolFormat.DoneName(segment)));
        long length = RandomAccess.GetLength(file);
        if (length == 0)
        {
            Span<byte> header = stackalloc byte[EntryLength];
            FileMagic.CopyTo(header);
            BinaryPrimitives.WriteInt64LittleEndian(header[8..], segment);
            RandomAccess.Write(file, header, 0);
            _newNames = true;
        }
        else if (length % EntryLength != 0)
        {
            // A torn write: filled up to an entry that counts for nothing, so that the next ones stand where they are looked for.
            RandomAccess.Write(file, new byte[EntryLength - length % EntryLength], 0);
        }
        return _files[segment] = file;
    }

    private void CloseAll()
    {
        foreach (SafeFileHandle file in _files.Values)
            file.Dispose();
        _files.Clear();
    }
}

/// <summary>Which recipients of a segment are settled.</summary>
public sealed class SettledSet
{
    private const int BlockBits = 6;

    /// <summary>By key without its lowest bits, a bit for each key that has them: the recipients of a message are one look-up, or few.</summary>
    private readonly Dictionary<long, ulong> _blocks = [];

    public int Count { get; private set; }

    public bool Contains(long offset, int ordinal)
    {
        long key = DoneJournal.Key(offset, ordinal);
        return (_blocks.GetValueOrDefault(key >> BlockBits) & Bit(key)) != 0;
    }

    public void Add(long offset, int ordinal) => Add(DoneJournal.Key(offset, ordinal));

    internal void Add(long key)
    {
        ref ulong block = ref CollectionsMarshal.GetValueRefOrAddDefault(_blocks, key >> BlockBits, out _);
        Count += (block & Bit(key)) == 0 ? 1 : 0;
        block |= Bit(key);
    }

    internal void RemoveBefore(long offset)
    {
        foreach ((long block, ulong bits) in _blocks)
        {
            if (DoneJournal.OffsetOf(block << BlockBits) >= offset)
                continue;
            Count -= BitOperations.PopCount(bits);
            _blocks.Remove(block);
        }
    }

    private static ulong Bit(long key) => 1UL << (int)(key & ((1 << BlockBits) - 1));

    /// <summary>A delivery of this segment without its settled recipients; null when none is left.</summary>
    public Delivery? Without(Delivery delivery)
    {
        if (!HasAnyOf(delivery))
            return delivery;
        OpenRecipient[] open = [.. delivery.Recipients.Where(recipient => !Contains(delivery.Position.Offset, recipient.Ordinal))];
        return open.Length == 0 ? null : delivery with { Recipients = open };
    }

    private bool HasAnyOf(Delivery delivery)
    {
        (long block, ulong bits) = (-1, 0);
        for (int i = 0; i < delivery.Recipients.Count; i++)
        {
            long key = DoneJournal.Key(delivery.Position.Offset, delivery.Recipients[i].Ordinal);
            if (key >> BlockBits != block)
                (block, bits) = (key >> BlockBits, _blocks.GetValueOrDefault(key >> BlockBits));
            if ((bits & Bit(key)) != 0)
                return true;
        }
        return false;
    }
}
