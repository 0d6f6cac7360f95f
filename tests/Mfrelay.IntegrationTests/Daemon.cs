using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace Mfrelay.IntegrationTests;

/// <summary>A process under test: its output line by line, its signals, its exit code. Killed when it is disposed.</summary>
internal sealed class Daemon : IDisposable
{
    private const int SigTerm = 15;
    private const int SigHup = 1;
    private const int OpenFiles = 7; // RLIMIT_NOFILE

    private readonly Process _process;
    private readonly Lock _gate = new();
    private readonly List<string> _lines = [];
    private readonly List<string> _errors = [];
    private TaskCompletionSource _news = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Where the programs are: the build puts them beside the tests; MFRELAY_BIN names those of a package.</summary>
    private static readonly string Programs = Environment.GetEnvironmentVariable("MFRELAY_BIN") ?? AppContext.BaseDirectory;

    /// <param name="name">Of an executable in <see cref="Programs"/>.</param>
    public Daemon(string name, params string[] arguments)
        : this(name, [], arguments)
    {
    }

    /// <param name="environment">Set besides what this process has.</param>
    public Daemon(string name, Dictionary<string, string> environment, params string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Join(Programs, name), arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            UseShellExecute = false,
            StandardOutputEncoding = System.Text.Encoding.UTF8,
            StandardErrorEncoding = System.Text.Encoding.UTF8,
        };
        start.Environment.Remove("JOURNAL_STREAM");
        start.Environment.Remove("NOTIFY_SOCKET");
        foreach ((string variable, string value) in environment)
            start.Environment[variable] = value;
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, e) => Add(_lines, e.Data);
        _process.ErrorDataReceived += (_, e) => Add(_errors, e.Data);
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>What it has written to standard output, which is its log.</summary>
    public IReadOnlyList<string> Lines
    {
        get
        {
            lock (_gate)
                return [.. _lines];
        }
    }

    /// <summary>Memory that it has.</summary>
    public long ResidentKib
    {
        get
        {
            string line = File.ReadLines($"/proc/{_process.Id}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal));
            return long.Parse(line.AsSpan(6, line.Length - 6 - "kB".Length), CultureInfo.InvariantCulture);
        }
    }

    /// <summary>Standard error as one text.</summary>
    public string Errors
    {
        get
        {
            lock (_gate)
                return string.Join('\n', _errors);
        }
    }

    public bool HasExited => _process.HasExited;

    public int Id => _process.Id;

    /// <summary>False: only the last lines are kept, for a process that writes millions.</summary>
    public bool KeepsLines { get; init; } = true;

    /// <summary>Processor time used so far, user and system, in clock ticks of 10 ms (proc(5), fields 14 and 15 of stat).</summary>
    public long ProcessorTicks
    {
        get
        {
            string stat = File.ReadAllText($"/proc/{_process.Id}/stat");
            string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture);
        }
    }

    public int Count(string pattern) => Lines.Count(line => IsMatch(line, pattern));

    /// <summary>The first line that matches, now or later; fails with everything the process wrote when none comes.</summary>
    public async Task<string> WaitForLineAsync(string pattern, int seconds = 15)
    {
        var limit = Task.Delay(TimeSpan.FromSeconds(seconds));
        while (true)
        {
            Task news;
            bool over = _process.HasExited;
            lock (_gate)
            {
                if (_lines.FirstOrDefault(line => IsMatch(line, pattern)) is { } found)
                    return found;
                news = _news.Task;
            }
            if (over || await Task.WhenAny(news, limit, _process.WaitForExitAsync()) == limit)
            {
                if (over || !_process.HasExited)
                    throw new TimeoutException($"No line like {pattern} from {_process.StartInfo.FileName} (ended: {over}):\n{Errors}\n{string.Join('\n', Lines)}");
                await _process.WaitForExitAsync();
            }
        }
    }

    /// <summary>SIGKILL; returns when the process is gone.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>SIGHUP: read the config again.</summary>
    public void Reload() => _ = Signal(_process.Id, SigHup);

    /// <summary>SIGTERM; returns at once.</summary>
    public void Terminate() => _ = Signal(_process.Id, SigTerm);

    /// <summary>From now on it gets no file descriptor from this number on.</summary>
    public void LimitOpenFiles(ulong first)
    {
        ulong[] limit = [first, 1024]; // soft and hard, prlimit(2)
        if (Limit(_process.Id, OpenFiles, limit, 0) != 0)
            throw new InvalidOperationException("prlimit failed");
    }

    /// <summary>The exit code, once it ends by itself.</summary>
    public async Task<int> WaitForExitAsync(int seconds = 15)
    {
        try
        {
            await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(seconds));
            return _process.ExitCode;
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"{_process.StartInfo.FileName} still runs:\n{Errors}\n{string.Join('\n', Lines)}", e);
        }
    }

    /// <summary>SIGTERM and the exit code.</summary>
    public async Task<int> StopAsync(int seconds = 15)
    {
        Terminate();
        return await WaitForExitAsync(seconds);
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

    private static bool IsMatch(string line, string pattern) => Regex.IsMatch(line, pattern, RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1));

    private void Add(List<string> to, string? line)
    {
        if (line is null)
            return;
        TaskCompletionSource told;
        lock (_gate)
        {
            to.Add(line);
            if (!KeepsLines && to.Count > 2000)
                to.RemoveRange(0, 1000);
            told = _news;
            _news = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
        told.SetResult();
    }

    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Signal(int process, int signal);

    [DllImport("libc", EntryPoint = "prlimit")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Limit(int process, int resource, ulong[] limit, nint old);
}
