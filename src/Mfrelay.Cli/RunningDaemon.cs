using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>A daemon that runs, by its files in the run directory.</summary>
/// <param name="Version">"1.0.0"; empty when it cannot be read.</param>
/// <param name="Settings">What it runs on; null when it cannot be read.</param>
internal sealed record RunningDaemon(string Name, int Pid, string Version, Settings? Settings)
{
    public const string Server = "mf-smtp-server";
    public const string Client = "mf-smtp-client";

    public static IReadOnlyList<string> Names { get; } = [Server, Client];

    public static string OwnVersion => typeof(RunningDaemon).Assembly.GetName().Version?.ToString(3) ?? "";

    public bool IsOwnVersion => string.Equals(Version, OwnVersion, StringComparison.Ordinal);

    public bool Is(string name) => string.Equals(Name, name, StringComparison.Ordinal);

    public static IEnumerable<RunningDaemon> All(string runDirectory)
    {
        foreach (string name in Names)
        {
            if (PidOf(name, runDirectory) is { } pid)
            {
                string file = Path.Combine(runDirectory, $"{name}.toml");
                yield return new RunningDaemon(name, pid, VersionIn(file), File.Exists(file) ? ConfigFile.Load(file).Settings : null);
            }
        }
    }

    /// <summary>Refuses to change anything while a daemon of another version runs, which may understand it differently.</summary>
    /// <exception cref="StateException">One does.</exception>
    public static void RequireSameVersion(string runDirectory, Language language)
    {
        foreach (RunningDaemon daemon in All(runDirectory))
        {
            if (daemon.Version.Length > 0 && !daemon.IsOwnVersion)
            {
                throw new StateException(language.Say(
                    $"{daemon.Name} (pid {daemon.Pid}) のバージョンは {daemon.Version}、このコマンドは {OwnVersion} です。何も変更しませんでした。再起動してください (systemctl restart {daemon.Name})",
                    $"{daemon.Name} (pid {daemon.Pid}) is version {daemon.Version}, this command is {OwnVersion}: nothing was changed. Restart it (systemctl restart {daemon.Name})"));
            }
        }
    }

    /// <summary>The first line is "# mfrelay VERSION format N".</summary>
    private static string VersionIn(string file)
    {
        try
        {
            return File.ReadLines(file).FirstOrDefault("").Split(' ') is ["#", "mfrelay", var version, ..] ? version : "";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    /// <summary>Of a running daemon; null also for the file of one that was killed, whose number another process may have by now.</summary>
    public static int? PidOf(string name, string runDirectory)
    {
        try
        {
            string text = File.ReadAllText(Path.Combine(runDirectory, $"{name}.pid")).Trim();
            if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int pid) || pid <= 1)
                return null;
            string process = $"/proc/{pid.ToString(CultureInfo.InvariantCulture)}";
            if (string.Equals(File.ReadAllText($"{process}/comm").TrimEnd('\n'), name, StringComparison.Ordinal))
                return pid;
            // "dotnet mf-smtp-server.dll", where the process is called dotnet.
            string[] command = File.ReadAllText($"{process}/cmdline").Split('\0');
            return command.Length > 1 && string.Equals(Path.GetFileName(command[1]), $"{name}.dll", StringComparison.Ordinal) ? pid : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
