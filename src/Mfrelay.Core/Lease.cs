using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>
/// The turnstile before mfrelay.db: at most one process has the database open. Two flock(2) files: who wants in locks "wait", then
/// "db", then lets "wait" go. So the holder sees by a try on "wait" that somebody stands there, the order is fair, nobody polls, and the
/// kernel frees both when a process dies. Used by one thread at a time. The file "lease.db" holds, as i64 generation and i64 changes, how
/// far the database was when it was last closed.
/// </summary>
internal sealed class Lease(string stateDirectory) : IDisposable
{
    private readonly SafeFileHandle _wait = Native.OpenLockFile(Path.Combine(stateDirectory, "lease.wait"));
    private readonly SafeFileHandle _db = Native.OpenLockFile(Path.Combine(stateDirectory, "lease.db"));

    /// <summary>Waits for the turn.</summary>
    public void Enter()
    {
        Native.Flock(_wait, Native.LockExclusive);
        Native.Flock(_db, Native.LockExclusive);
        Native.Flock(_wait, Native.LockUnlock);
    }

    /// <summary>True when another process stands in the turnstile; only the holder asks.</summary>
    public bool Wanted()
    {
        if (!Native.Flock(_wait, Native.LockExclusive | Native.LockNonBlocking))
            return true;
        Native.Flock(_wait, Native.LockUnlock);
        return false;
    }

    public void Leave() => Native.Flock(_db, Native.LockUnlock);

    /// <summary>What the last holder left; zeros when nobody did. Only the holder asks.</summary>
    public DatabaseState ReadState()
    {
        Span<byte> bytes = stackalloc byte[16];
        return RandomAccess.Read(_db, bytes, 0) == bytes.Length
            ? new(BinaryPrimitives.ReadInt64LittleEndian(bytes), BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]))
            : default;
    }

    public void WriteState(DatabaseState state)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, state.Generation);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[8..], state.Changes);
        RandomAccess.Write(_db, bytes, 0);
    }

    public void Dispose()
    {
        _wait.Dispose();
        _db.Dispose();
    }
}
