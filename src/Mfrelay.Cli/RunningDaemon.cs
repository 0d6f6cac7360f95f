using System.Globalization;

namespace Mfrelay.Cli;

/// <summary>Which daemons run, by their files in the run directory.</summary>
internal static class RunningDaemon
{
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
