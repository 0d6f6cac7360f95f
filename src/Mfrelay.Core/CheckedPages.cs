using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>
/// A file of LiteDB's, whose pages have no checksums: garbage in them may read as other rows, or keep LiteDB in a loop for ever. So the file
/// mfrelay.sum has one for each page, and a page that does not match it never gets to LiteDB: it is an InvalidDataException instead.
/// <code>
/// mfrelay.sum = entry*     entry of page N, at 8 N = u32 crc(page N of mfrelay.db)  u32 crc(page N of mfrelay-log.db)     0: not known
/// </code>
/// A checksum is written before its page. A crash in between leaves a page that does not match only where nobody reads it: behind the end of the log,
/// or in mfrelay.db while the log still has that page. Nothing here is synced, as the pages are not.
/// </summary>
internal sealed class CheckedPages : Stream
{
    public const int PageSize = 8192;
    private const int EntryLength = 8;

    private readonly FileStream _file;
    private readonly SafeFileHandle _sums;
    private readonly int _place;

    /// <param name="isLog">Which of the two checksums of an entry.</param>
    public CheckedPages(string path, string sums, bool isLog)
    {
        // Not LiteDB's own stream: it would fsync the file each time it is closed, which is with every turn, and its durability is not needed.
        // 0: LiteDB does its own buffering, by pages.
        _file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        try
        {
            _sums = File.OpenHandle(sums, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            _place = isLog ? 4 : 0;
            if (!isLog && _file.Length == 0)
                RandomAccess.SetLength(_sums, 0); // a new database: these were those of another one
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override bool CanRead => true;
    public override bool CanSeek => true;
    public override bool CanWrite => true;
    public override long Length => _file.Length;

    public override long Position
    {
        get => _file.Position;
        set => _file.Position = value;
    }

    public override int Read(byte[] buffer, int offset, int count)
    {
        long position = _file.Position;
        int n = _file.Read(buffer, offset, count);
        if (n == PageSize && position % PageSize == 0)
        {
            Span<byte> entry = stackalloc byte[4];
            uint expected = RandomAccess.Read(_sums, entry, Place(position)) == entry.Length ? BinaryPrimitives.ReadUInt32LittleEndian(entry) : 0;
            if (expected != 0 && expected != Sum(buffer.AsSpan(offset, n)))
                throw new InvalidDataException($"page {position / PageSize} is not what was written there: damage, or an older copy");
        }
        else if (n < count)
        {
            throw new InvalidDataException($"page {position / PageSize} is not there");
        }
        return n;
    }

    public override void Write(byte[] buffer, int offset, int count)
    {
        long position = _file.Position;
        Span<byte> entry = stackalloc byte[4];
        for (int at = 0; at < count; at += PageSize)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(entry, position % PageSize == 0 && count % PageSize == 0 ? Sum(buffer.AsSpan(offset + at, PageSize)) : 0);
            RandomAccess.Write(_sums, entry, Place(position + at));
        }
        _file.Write(buffer, offset, count);
    }

    public override long Seek(long offset, SeekOrigin origin) => _file.Seek(offset, origin);

    public override void SetLength(long value) => _file.SetLength(value);

    /// <summary>Never to the disk: see the store.</summary>
    public override void Flush()
    {
    }

    protected override void Dispose(bool disposing)
    {
        _file.Dispose();
        _sums?.Dispose();
        base.Dispose(disposing);
    }

    private long Place(long position) => position / PageSize * EntryLength + _place;

    private static uint Sum(ReadOnlySpan<byte> page) => Crc32C.Of(page) is var sum and not 0 ? sum : 1;
}
