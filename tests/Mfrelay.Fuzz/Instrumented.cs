using System.Diagnostics;

namespace Mfrelay.Fuzz;

/// <summary>A copy of this program whose assemblies of ours count their branches, run as a process of its own.</summary>
internal static class Instrumented
{
    private const string Mark = "MFRELAY_FUZZ_INSTRUMENTED";
    private static readonly string[] Assemblies = ["Mfrelay.Core.dll", "mf-smtp-server.dll", "mf-smtp-client.dll", "Tomlyn.dll"];

    public static bool IsThis => Environment.GetEnvironmentVariable(Mark) is not null;

    public static int Run(string[] args)
    {
        DirectoryInfo copy = Directory.CreateTempSubdirectory("mfrelay-fuzz-");
        try
        {
            foreach (string file in Directory.EnumerateFiles(AppContext.BaseDirectory, "*", SearchOption.AllDirectories))
            {
                string to = Path.Combine(copy.FullName, Path.GetRelativePath(AppContext.BaseDirectory, file));
                Directory.CreateDirectory(Path.GetDirectoryName(to)!);
                File.Copy(file, to);
            }
            foreach (string assembly in Assemblies)
                Instrument(Path.Combine(copy.FullName, assembly));
            var start = new ProcessStartInfo(Environment.ProcessPath!, [Path.Combine(copy.FullName, "mfrelay-fuzz.dll"), .. args]);
            if (!Path.GetFileNameWithoutExtension(Environment.ProcessPath!).Equals("dotnet", StringComparison.Ordinal))
                start = new ProcessStartInfo(Path.Combine(copy.FullName, "mfrelay-fuzz"), args);
            start.Environment[Mark] = "1";
            using Process process = Process.Start(start)!;
            process.WaitForExit();
            return process.ExitCode;
        }
        finally
        {
            copy.Delete(recursive: true);
        }
    }

    // The library writes the assembly anew beside the old one, under a name of its own choice, and moves it into place.
    private static void Instrument(string path) => SharpFuzz.Fuzzer.Instrument(path, static _ => true, SharpFuzz.Options.Value);
}
