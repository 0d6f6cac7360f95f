using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>
/// /var/lib/mfrelay: the database, the spool, the lock files, and "format", which names the version of all of them.
/// </summary>
public sealed class StateDirectory
{
    /// <summary>The version of everything on disk that this program writes. A higher one is refused.</summary>
    public const int Version = 1;

    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private StateDirectory(string path) => Root = path;

    public string Root { get; }
    public string Database => Path.Combine(Root, "mfrelay.db");
    public string Spool => Path.Combine(Root, "queue", "smtp");

    /// <summary>Octets that its file system has left; null when that cannot be told.</summary>
    public long? Room()
    {
        try
        {
            return new DriveInfo(Root).AvailableFreeSpace;
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>
    /// Opens the directory, making what is missing. Throws <see cref="StateException"/> with a text for the operator when the
    /// directory cannot be used: no rights, a file in its place, written by a newer version.
    /// </summary>
    public static StateDirectory Open(string path)
    {
        Native.MakeFilesPrivate();
        var directory = new StateDirectory(Path.GetFullPath(path));
        try
        {
            string format = Path.Combine(directory.Root, "format");
            bool isNew = !File.Exists(format);
            if (!isNew)
                CheckFormat(format);
            Directory.CreateDirectory(directory.Root, Private);
            Directory.CreateDirectory(Path.Combine(directory.Root, "queue"), Private);
            Directory.CreateDirectory(directory.Spool, Private);
            if (isNew)
                WriteFormat(format);
            // A directory that one may enter but not write is found now and not with the first message.
            Native.OpenLockFile(Path.Combine(directory.Root, "lease.db")).Dispose();
            string probe = Path.Combine(directory.Spool, $".probe-{Environment.ProcessId}");
            File.WriteAllBytes(probe, []);
            File.Delete(probe);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StateException(
                $"cannot use the state directory {path}: {e.Message}. It must be writable for user '{Environment.UserName}': "
                + $"chown -R {Environment.UserName} {path}, or name another one with state_directory", e);
        }
        return directory;
    }

    // Under another name first: a crash leaves no empty file, which the next start would have to refuse.
    private static void WriteFormat(string file)
    {
        string unfinished = $"{file}.{Environment.ProcessId}";
        File.WriteAllText(unfinished, $"mfrelay {Version}\n");
        using (SafeFileHandle handle = File.OpenHandle(unfinished, FileMode.Open, FileAccess.ReadWrite))
            Native.DataSync(handle);
        File.Move(unfinished, file, overwrite: true);
    }

    private static void CheckFormat(string file)
    {
        string[] words = File.ReadAllText(file).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        if (words is not ["mfrelay", var number] || !int.TryParse(number, CultureInfo.InvariantCulture, out int version) || version < 1)
            throw new StateException($"{file} is not what mfrelay writes: expected 'mfrelay {Version}'. Is this another program's directory?");
        if (version > Version)
        {
            throw new StateException(
                $"{file}: the state directory was written by a newer mfrelay (format {version}; this one knows {Version}). "
                + "Nothing was changed. Install the newer version again, or let it empty its queue first");
        }
    }
}

/// <summary>The state directory cannot be used; the message tells the operator what to do.</summary>
public sealed class StateException(string message, Exception? inner = null) : Exception(message, inner);
