using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>
/// How far mf-smtp-server's part of the spool is on stable storage, so that mf-smtp-client can read new mail there without waiting for its row in the
/// table. Written after each sync, itself not synced: an old value or none only means to wait for the row. The file "server.end":
/// <code>
/// i64 segment  i64 offset  u32 crc(of the 16 octets before)
/// </code>
/// </summary>
public sealed class DurableEnd(string spool) : IDisposable
{
    private const int Length = 20;
    private readonly string _path = Path.Combine(spool, "server.end");
    private SafeFileHandle? _file;

    /// <summary>For the owner of the spool alone.</summary>
    public void Write(SpoolPosition end)
    {
        _file ??= File.OpenHandle(_path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        Span<byte> bytes = stackalloc byte[Length];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, end.Segment);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[8..], end.Offset);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[16..], Crc32C.Of(bytes[..16]));
        RandomAccess.Write(_file, bytes, 0);
    }

    /// <summary>Null when nobody has written it, or when it is being written: another look tells.</summary>
    public SpoolPosition? Read()
    {
        if (_file is null)
        {
            if (!File.Exists(_path))
                return null;
            _file = Native.OpenToRead(_path);
        }
        Span<byte> bytes = stackalloc byte[Length];
        return RandomAccess.Read(_file, bytes, 0) == Length && BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]) == Crc32C.Of(bytes[..16])
            ? new SpoolPosition(BinaryPrimitives.ReadInt64LittleEndian(bytes), BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]))
            : null;
    }

    public void Dispose() => _file?.Dispose();
}
