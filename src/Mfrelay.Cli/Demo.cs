using System.Net;
using System.Net.Sockets;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <param name="Port">Null: the usual one, or a free one.</param>
internal sealed record DemoOptions(bool Once, int? Port, bool Keep);

/// <summary>
/// The main job on one machine: both daemons as processes on loopback, a <see cref="ReceivingServer"/> behind them, a first message, and
/// every step of it as it happens.
/// </summary>
internal sealed class Demo : IDisposable
{
    private const string ReversePath = "sender@demo.example";
    private const string ForwardPath = "recipient@example.com";

    private static readonly TimeSpan RoundTripLimit = TimeSpan.FromSeconds(30);

    /// <summary>The daemons let running transactions end within 25 s.</summary>
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(35);

    private readonly Narrator _say;
    private readonly string _directory;
    private readonly ReceivingServer _receiver;
    private readonly IPEndPoint _listen;
    private readonly List<DaemonProcess> _daemons = [];
    private readonly TaskCompletionSource _serverListens = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _clientStarted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly FirstMessage _first;
    private int _count;

    private Demo(Narrator say, TimeProvider time, string directory, int port)
    {
        (_say, _directory) = (say, directory);
        _listen = new IPEndPoint(IPAddress.Loopback, port);
        _first = new FirstMessage(say, Path.Combine(directory, "state"), time);
        _receiver = new ReceivingServer(Arrived);
    }

    private string ConfigPath => Path.Combine(_directory, "mfrelay.toml");

    /// <summary>The exit code: 0, or 1 after saying why.</summary>
    public static async Task<int> RunAsync(DemoOptions options, TextWriter output, TimeProvider time, CancellationToken cancel)
    {
        var say = new Narrator(output, time);
        DirectoryInfo directory = Directory.CreateTempSubdirectory("mfrelay-demo-");
        try
        {
            using var demo = new Demo(say, time, directory.FullName, ChoosePort(options.Port));
            return await demo.RunAsync(options.Once, cancel);
        }
        catch (Exception e) when (e is IOException or DialogException or SocketException or StateException or TimeoutException)
        {
            say.Line($"failed: {e.Message}");
            return 1;
        }
        finally
        {
            if (options.Keep)
                say.Line($"left: {directory.FullName}");
            else
                directory.Delete(recursive: true);
        }
    }

    public void Dispose()
    {
        foreach (DaemonProcess daemon in _daemons)
            daemon.Dispose();
        _receiver.Dispose();
    }

    private async Task<int> RunAsync(bool once, CancellationToken cancel)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task receiving = _receiver.RunAsync(ending.Token);
        int exit = 1;
        try
        {
            exit = await RunDaemonsAsync(once, ending.Token);
        }
        catch (Exception e) when (cancel.IsCancellationRequested && e is OperationCanceledException or IOException)
        {
            // Ctrl-C, which a terminal sends to the daemons as well, and which ends a demonstration well unless it was to be seen through.
            exit = once ? 1 : 0;
        }
        finally
        {
            bool clean = await StopAsync();
            await ending.CancelAsync();
            await receiving;
            exit = clean ? exit : 1;
        }
        return exit;
    }

    private async Task<int> RunDaemonsAsync(bool once, CancellationToken cancel)
    {
        _say.Line($"temporary directory {_directory}");
        _say.Line($"receiving server on 127.0.0.1:{_receiver.Port}: where the relay delivers to");
        await WriteConfigAsync(cancel);
        Start("mf-smtp-server", "Mfrelay.Server", "server", _serverListens, LogEvents.Listening);
        Start("mf-smtp-client", "Mfrelay.Client", "client", _clientStarted, LogEvents.Started);
        Task ended = AnyEndedAsync(cancel);

        Task roundTrip = RoundTripAsync(cancel);
        if (await Task.WhenAny(roundTrip, ended, Task.Delay(RoundTripLimit, cancel)) is var outcome && outcome != roundTrip && outcome != ended)
        {
            cancel.ThrowIfCancellationRequested();
            throw new TimeoutException($"no round trip within {RoundTripLimit.TotalSeconds:0} s; the lines above show how far it came");
        }
        await outcome;
        if (once)
            return 0;

        _say.Text($"""

            Both daemons stay up until Ctrl-C. Send mail of your own, to any address:
              swaks --server {_listen} --to you@example.com
              python3 -c 'import smtplib; smtplib.SMTP("{_listen.Address}", {_listen.Port}).sendmail("a@example.org", "you@example.com", "Subject: hello\r\n\r\nHello.\r\n")'

            """);
        await ended;
        return 1;
    }

    private async Task WriteConfigAsync(CancellationToken cancel)
    {
        await File.WriteAllTextAsync(ConfigPath, $"""
            host_name = "relay.demo.example"
            state_directory = "{_directory}/state"
            run_directory = "{_directory}/run"
            language = "en"

            [server]
            listen = ["{_listen}"]

            [[mail_server]]
            domain = "*"
            host = "127.0.0.1"
            port = {_receiver.Port}

            """, cancel);
        _say.Line($"config {ConfigPath}");
    }

    private void Start(string name, string project, string prefix, TaskCompletionSource ready, LogEvent readyLine)
    {
        var daemon = new DaemonProcess(DaemonFiles.Find(name, project, AppContext.BaseDirectory), ConfigPath, line =>
        {
            _say.Line($"{prefix} | {line}");
            if (line.Contains($" {readyLine.Code} ", StringComparison.Ordinal))
                ready.TrySetResult();
            _first.SeeLogLine(line);
        });
        _daemons.Add(daemon);
        _say.Line($"started {name}, process {daemon.Id}");
    }

    /// <summary>Throws when a daemon ends by itself.</summary>
    private async Task AnyEndedAsync(CancellationToken cancel)
    {
        Task<int>[] exits = [.. _daemons.Select(daemon => daemon.WaitForExitAsync(cancel))];
        Task<int> first = await Task.WhenAny(exits);
        throw new IOException($"{_daemons[Array.IndexOf(exits, first)].Name} ended with exit code {await first}; its lines above say why");
    }

    private async Task RoundTripAsync(CancellationToken cancel)
    {
        await Task.WhenAll(_serverListens.Task, _clientStarted.Task).WaitAsync(cancel);
        await _first.SendAsync(_listen, ReversePath, ForwardPath, cancel);
        TimeSpan took = await _first.WhenThroughAsync(cancel);
        _say.Line($"round trip of {_first.Id} in {took.TotalMilliseconds:0} ms: what arrived is what was sent, after the relay's Received field");
    }

    private void Arrived(ArrivedMail mail)
    {
        string to = mail.ForwardPaths.Count == 1 ? $"<{mail.ForwardPaths[0]}>" : $"{mail.ForwardPaths.Count} recipients";
        _say.Step("arrived", $"{mail.QueueId} as message {Interlocked.Increment(ref _count)} from <{mail.ReversePath}> to {to}: {mail.Size} octets, "
            + $"{mail.SizeBelowTrace} below the relay's Received field with sha256 {mail.Sha256}");
        _first.SeeArrival(mail);
    }

    /// <summary>SIGTERM to both; false when one did not end with 0.</summary>
    private async Task<bool> StopAsync()
    {
        foreach (DaemonProcess daemon in _daemons)
            daemon.Terminate();
        bool clean = true;
        foreach (DaemonProcess daemon in _daemons)
        {
            int code = await daemon.WaitForExitAsync(CancellationToken.None).WaitAsync(StopLimit);
            _say.Line($"stopped {daemon.Name}, exit code {code}");
            clean &= code == 0;
        }
        return clean;
    }

    private static int ChoosePort(int? wanted)
    {
        foreach (int port in wanted is { } given ? [given] : new[] { DemoCommand.DefaultPort, 0 })
        {
            using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                probe.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return ((IPEndPoint)probe.LocalEndPoint!).Port;
            }
            catch (SocketException) when (wanted is null && port != 0)
            {
                // Taken: any other.
            }
            catch (SocketException e)
            {
                throw new IOException($"cannot listen on 127.0.0.1:{port}: {e.Message}. Choose another one with --port", e);
            }
        }
        throw new IOException("no free port");
    }
}
