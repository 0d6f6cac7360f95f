using System.Globalization;
using System.Runtime.InteropServices;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>
/// The store as a command opens it: never makes a state directory, and as its owner. A command that root runs would leave files in it
/// that the daemons cannot open, so it takes on the owner's identity first; <see cref="BecomeCallerAgain"/> gives it back.
/// </summary>
internal static partial class StateAccess
{
    private const int CurrentDirectory = -100; // AT_FDCWD
    private const uint BasicStats = 0x7ff;     // STATX_BASIC_STATS

    /// <exception cref="StateException">It cannot be used; the text says which user can.</exception>
    public static QueueStore Open(Settings settings, Language language, TextWriter error, TimeProvider time)
    {
        string path = settings.StateDirectory;
        if (!Directory.Exists(path))
        {
            throw new StateException(language.Say(
                $"状態ディレクトリー {path} がありません。mf-smtp-server が一度も起動していないか、state_directory の設定が異なります",
                $"there is no state directory {path}: mf-smtp-server has never run, or state_directory names another one"));
        }
        (uint user, uint group) = OwnerOf(path);
        if (Environment.IsPrivilegedProcess && user != 0)
            Become(user, group);
        var routes = new RouteTable(settings.MailServers);
        var log = MailLog.ToAction(language, (_, line) => error.WriteLine(line));
        try
        {
            return new QueueStore(StateDirectory.Open(path), () => routes, log, time);
        }
        catch (StateException e) when (e.InnerException is UnauthorizedAccessException or IOException)
        {
            string name = NameOf(user);
            throw new NoRightsException(language.Say(
                $"ユーザー '{Environment.UserName}' は {path} を使用できません。root または '{name}' で実行してください (sudo -u {name} mfrelay ...): {e.InnerException.Message}",
                $"user '{Environment.UserName}' cannot use {path}; run it as root or as '{name}' (sudo -u {name} mfrelay ...): {e.InnerException.Message}"));
        }
    }

    /// <summary>Runs what needs the store; a store that cannot be used is a line on standard error and an exit status.</summary>
    public static async Task<int> WithStoreAsync(
        Settings settings, Language language, TextWriter error, TimeProvider time, Func<QueueStore, Task<int>> use)
    {
        try
        {
            using QueueStore store = Open(settings, language, error, time);
            return await use(store);
        }
        catch (StateException e)
        {
            await error.WriteLineAsync($"mfrelay: {e.Message}");
            return CommandSupport.StateNotUsable;
        }
        catch (NoRightsException e)
        {
            await error.WriteLineAsync($"mfrelay: {e.Message}");
            return CommandSupport.NoRights;
        }
    }

    /// <summary>Runs what asks the running daemons; a run directory that may not be read is a line on standard error and an exit status.</summary>
    public static int WithDaemons(Settings settings, Language language, TextWriter error, Func<int> use)
    {
        try
        {
            if (Directory.Exists(settings.RunDirectory))
                _ = Directory.GetFiles(settings.RunDirectory);
            return use();
        }
        catch (UnauthorizedAccessException)
        {
            string group = GroupOf(settings.RunDirectory);
            error.Line(language.Say(
                $"mfrelay: ユーザー '{Environment.UserName}' は {settings.RunDirectory} を読み取れません。root またはグループ '{group}' のユーザーで実行してください",
                $"mfrelay: user '{Environment.UserName}' may not read {settings.RunDirectory}; root and users of the group '{group}' may"));
            return CommandSupport.NoRights;
        }
    }

    /// <summary>The name of the group that a directory belongs to; where that may not be seen, the group of the one that it is in.</summary>
    public static string GroupOf(string directory)
    {
        while (true)
        {
            try
            {
                return NameOf(OwnerOf(directory).Group, "/etc/group");
            }
            catch (StateException) when (Path.GetDirectoryName(directory) is { } above)
            {
                directory = above;
            }
        }
    }

    /// <summary>"mfrelay"; the number when the file does not name it.</summary>
    private static string NameOf(uint id, string file = "/etc/passwd")
    {
        string number = id.ToString(CultureInfo.InvariantCulture);
        string[] entry = File.ReadLines(file).Select(line => line.Split(':'))
            .FirstOrDefault(fields => fields.Length > 2 && string.Equals(fields[2], number, StringComparison.Ordinal), [$"#{number}"]);
        return entry[0];
    }

    private static unsafe (uint User, uint Group) OwnerOf(string path)
    {
        // struct statx (statx(2)) is the same on every architecture: stx_uid at 20, stx_gid at 24.
        Span<byte> stat = stackalloc byte[256];
        fixed (byte* buffer = stat)
        {
            if (StatX(CurrentDirectory, path, 0, BasicStats, buffer) != 0)
                throw new StateException($"{path}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
        return (MemoryMarshal.Read<uint>(stat[20..]), MemoryMarshal.Read<uint>(stat[24..]));
    }

    private static void Become(uint user, uint group)
    {
        // The effective identity, of all threads: libc sees to that.
        if (SetGroups(0, 0) != 0 || SetEffectiveGid(group) != 0 || SetEffectiveUid(user) != 0)
            throw new StateException($"cannot become user {NameOf(user)}: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    /// <summary>For files that root wants where only root may write. No store may be open: it would leave files of root's.</summary>
    public static void BecomeCallerAgain()
    {
        uint user = GetUid();
        if (user == GetEffectiveUid())
            return;
        if (SetEffectiveUid(user) != 0 || SetEffectiveGid(GetGid()) != 0)
            throw new StateException($"cannot become user {NameOf(user)} again: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int StatX(int directory, string path, int flags, uint mask, byte* buffer);

    [LibraryImport("libc", EntryPoint = "setgroups", SetLastError = true)]
    private static partial int SetGroups(nint size, nint list);

    [LibraryImport("libc", EntryPoint = "setegid", SetLastError = true)]
    private static partial int SetEffectiveGid(uint group);

    [LibraryImport("libc", EntryPoint = "seteuid", SetLastError = true)]
    private static partial int SetEffectiveUid(uint user);

    [LibraryImport("libc", EntryPoint = "getuid")]
    private static partial uint GetUid();

    [LibraryImport("libc", EntryPoint = "getgid")]
    private static partial uint GetGid();

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetEffectiveUid();
}

/// <summary>The user may not open the state directory; the text says who may.</summary>
internal sealed class NoRightsException(string message) : Exception(message);
