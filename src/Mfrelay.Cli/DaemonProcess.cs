using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace Mfrelay.Cli;

/// <summary>A daemon as a child process: what it writes, line by line, and its end by SIGTERM. Killed when it is disposed and still runs.</summary>
internal sealed partial class DaemonProcess : IDisposable
{
    private const int SigTerm = 15;

    private readonly Process _process;

    /// <param name="line">Is given each line of its output, on a thread of the pool.</param>
    public DaemonProcess(string executable, string configFile, Action<string> line)
    {
        Name = Path.GetFileName(executable);
        var start = new ProcessStartInfo(executable, ["--config", configFile])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        // Our service manager is not theirs.
        start.Environment.Remove("JOURNAL_STREAM");
        start.Environment.Remove("NOTIFY_SOCKET");
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, e) => Pass(e.Data, line);
        _process.ErrorDataReceived += (_, e) => Pass(e.Data, line);
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public string Name { get; }
    public int Id => _process.Id;

    /// <summary>The exit code, once it has ended and all of its output has been passed on.</summary>
    public async Task<int> WaitForExitAsync(CancellationToken cancel)
    {
        await _process.WaitForExitAsync(cancel);
        return _process.ExitCode;
    }

    /// <summary>SIGTERM; returns at once.</summary>
    public void Terminate()
    {
        if (!_process.HasExited)
            _ = kill(_process.Id, SigTerm);
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            _process.WaitForExit();
        }
        _process.Dispose();
    }

    private static void Pass(string? data, Action<string> line)
    {
        if (data is not null)
            line(data);
    }

#pragma warning disable SYSLIB1054, IDE1006 // name of the C library
    [LibraryImport("libc")]
    private static partial int kill(int process, int signal);
#pragma warning restore SYSLIB1054, IDE1006
}
