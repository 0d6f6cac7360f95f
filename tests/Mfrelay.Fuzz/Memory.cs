using Mfrelay.Core;

namespace Mfrelay.Fuzz;

/// <summary>What targets need of the relay without its files.</summary>
internal static class Memory
{
    /// <summary>A message that stays in memory: inputs are far smaller than what goes to a file, and it is never committed.</summary>
    public static IncomingMessage NewMessage() => new(null!);

    /// <summary>A directory in memory for the targets that need files; removed at the end of the process.</summary>
    public static string NewDirectory()
    {
        string parent = Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath();
        string path = Directory.CreateDirectory(Path.Combine(parent, $"mfrelay-fuzz-{Path.GetRandomFileName()}")).FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(path, recursive: true);
        return path;
    }
}
