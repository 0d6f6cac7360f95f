using System.Diagnostics;
using Xunit;

namespace Mfrelay.IntegrationTests;

/// <summary>A file system of its own, small or read-only; needs the right to mount.</summary>
internal sealed class Tmpfs : IAsyncDisposable
{
    private readonly DirectoryInfo _point = Directory.CreateTempSubdirectory("mfrelay-fs-");

    /// <param name="options">As in mount(8): "size=1m", "ro".</param>
    public static async Task<Tmpfs> MountAsync(string options)
    {
        var made = new Tmpfs();
        string error = await RunAsync("mount", "-t", "tmpfs", "-o", options, "tmpfs", made.Root);
        if (error.Length > 0)
        {
            made._point.Delete();
            Assert.Fail($"This test needs a file system of its own, and may not mount one (run the tests as root): {error}");
        }
        return made;
    }

    public string Root => _point.FullName;

    public async ValueTask DisposeAsync()
    {
        await RunAsync("umount", "-l", Root);
        _point.Delete();
    }

    /// <summary>Standard error of a program that failed, "" of one that did not.</summary>
    private static async Task<string> RunAsync(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        string error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? "" : error.Length > 0 ? error : $"exit code {process.ExitCode}";
    }
}
