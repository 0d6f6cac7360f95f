using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>The few system calls that .NET does not offer: flock(2), fdatasync(2), fsync(2) of a directory.</summary>
internal static partial class Native
{
    public const int LockExclusive = 2;
    public const int LockNonBlocking = 4;
    public const int LockUnlock = 8;

    private const int ReadWrite = 0x2;
    private const int Create = 0x40;
    private const int WriteOnly = 0x1;
    private const int AppendOnly = 0x400;
    private const int CloseOnExec = 0x80000;
    private const int Eintr = 4;
    private const int Ewouldblock = 11;

    /// <summary>Opens a lock file without the flock that a FileStream takes on the same file.</summary>
    public static SafeFileHandle OpenLockFile(string path)
    {
        int fd = open(path, ReadWrite | Create | CloseOnExec, 0x180 /* 0600 */);
        return fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : throw Failed("open", path);
    }

    /// <summary>Opens a file that others write to and may remove meanwhile.</summary>
    public static SafeFileHandle OpenToRead(string path) =>
        File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

    /// <summary>Opens a file whose every write goes to its end, whichever process writes.</summary>
    public static SafeFileHandle OpenForAppend(string path)
    {
        int fd = open(path, WriteOnly | Create | AppendOnly | CloseOnExec, 0x180 /* 0600 */);
        return fd >= 0 ? new SafeFileHandle(fd, ownsHandle: true) : throw Failed("open", path);
    }

    /// <summary>True when the lock is ours; false only for a non-blocking try that met another holder.</summary>
    public static bool Flock(SafeFileHandle file, int operation)
    {
        while (flock(file, operation) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error == Ewouldblock)
                return false;
            if (error != Eintr)
                throw Failed("flock", "lock file");
        }
        return true;
    }

    /// <summary>Returns when the file's data, and the size needed to read it back, are on stable storage.</summary>
    public static void DataSync(SafeFileHandle file)
    {
        if (fdatasync(file) != 0)
            throw Failed("fdatasync", "spool file");
    }

    /// <summary>Takes all rights of group and others off every file that this process makes from now on.</summary>
    public static void MakeFilesPrivate() => _ = umask(0x3F /* 077 */);

    /// <summary>Makes the names in a directory durable.</summary>
    public static void SyncDirectory(string path)
    {
        // Not O_DIRECTORY, whose number on x64 means O_DIRECT on arm64.
        int fd = open(path, CloseOnExec, 0);
        if (fd < 0)
            throw Failed("open", path);
        using var handle = new SafeFileHandle(fd, ownsHandle: true);
        if (fsync(handle) != 0)
            throw Failed("fsync", path);
    }

    private static IOException Failed(string call, string path)
    {
        int error = Marshal.GetLastPInvokeError();
        return new IOException($"{call} {path}: {new Win32Exception(error).Message}", error);
    }

#pragma warning disable SYSLIB1054, IDE1006 // names of the C library
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags, int mode);

    [LibraryImport("libc")]
    private static partial int umask(int mask);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int flock(SafeFileHandle fd, int operation);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fdatasync(SafeFileHandle fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fsync(SafeFileHandle fd);
#pragma warning restore SYSLIB1054, IDE1006
}
