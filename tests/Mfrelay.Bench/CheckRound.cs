using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Mfrelay.Core;
using Mfrelay.Server;

namespace Mfrelay.Bench;

/// <summary>
/// How long the first round of checks takes: many registered mail servers on loopback, of which every second one answers and the others are
/// silent in two ways: some take the connection and never greet, some do not even take it. With the monitor, the probe and the timeout that
/// the server has. Then memory and processor time of this process while it watches a long list.
/// </summary>
internal static class CheckRound
{
    private const int Answering = 2710;
    private const int Mute = 2711;
    private const int Full = 2712;

    public static async Task<int> RunAsync(string[] args)
    {
        int servers = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 1000;
        int domains = args.Length > 1 ? int.Parse(args[1], CultureInfo.InvariantCulture) : 10_000;
        using var stop = new CancellationTokenSource();
        using Socket answering = Listen(IPAddress.Any, Answering, 512);
        using Socket mute = Listen(IPAddress.Any, Mute, 4096);
        using Socket full = Listen(IPAddress.Loopback, Full, 0);
        Socket[] filling = await FillBacklogAsync();
        Task answers = AnswerAsync(answering, stop.Token);

        await MeasureAsync($"{servers} mail servers, half of them silent", servers, static i => (i % 4) switch
        {
            1 => (AddressOf(i), Mute),
            3 => ("127.0.0.1", Full),
            _ => (AddressOf(i), Answering),
        });
        await MeasureAsync($"{domains} mail servers, all answer", domains, static i => (AddressOf(i), Answering));

        await stop.CancelAsync();
        await answers;
        foreach (Socket socket in filling)
            socket.Dispose();
        return 0;
    }

    private static async Task MeasureAsync(string what, int servers, Func<int, (string Host, int Port)> address)
    {
        using var scratch = new Scratch();
        var settings = new Settings
        {
            HostName = "relay.bench.test",
            StateDirectory = scratch.Directory.Root,
            RunDirectory = scratch.Directory.Root,
            MailServers = [.. Enumerable.Range(0, servers).Select(i => Samples.MailServer($"d{i}.bench.test", address(i).Host, address(i).Port))],
        };
        int lines = 0;
        using MailLog log = MailLog.ToAction(Language.En, (_, _) => Interlocked.Increment(ref lines));
        using var store = new QueueStore(scratch.Directory, () => new RouteTable([]), log, TimeProvider.System);
        long memory = GC.GetTotalMemory(forceFullCollection: true);
        using var process = Process.GetCurrentProcess();
        TimeSpan processor = process.TotalProcessorTime;
        var clock = Stopwatch.StartNew();
        await using (var monitor = new HealthMonitor(settings, store, log, TimeProvider.System, static (server, settings, cancel) =>
            new MailServerProbe(settings.HostName, settings.Server.CheckTimeout, TimeProvider.System).RunAsync(server, null, cancel)))
        {
            await monitor.ApplyAsync(settings);
            TimeSpan round = clock.Elapsed;
            TimeSpan spent = process.TotalProcessorTime - processor;
            await store.RunAsync(static table => table.ReadHealth().Count);
            TimeSpan written = clock.Elapsed;
            int reached = settings.MailServers.Count(server => monitor.StateOf(server) == HealthState.Reached);
            long after = GC.GetTotalMemory(forceFullCollection: true);
            process.Refresh();
            TimeSpan before = process.TotalProcessorTime;
            await Task.Delay(TimeSpan.FromSeconds(5));
            process.Refresh();
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{what}: first round {round.TotalSeconds:0.0} s (in the health table after {written.TotalSeconds:0.0} s), reached {reached}, log lines {lines}"));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  processor {spent.TotalMilliseconds / servers:0.00} ms per check (both ends), afterwards {(process.TotalProcessorTime - before).TotalMilliseconds / 5000:0.0000} of a core; "
                + $"managed memory {(after - memory) / servers} octets per mail server, resident {process.WorkingSet64 >> 20} MiB (peak {process.PeakWorkingSet64 >> 20} MiB)"));
        }
    }

    private static string AddressOf(int i) => $"127.1.{i / 250}.{(i % 250) + 1}";

    private static Socket Listen(IPAddress address, int port, int backlog)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        socket.Bind(new IPEndPoint(address, port));
        socket.Listen(backlog);
        return socket;
    }

    /// <summary>Once the backlog is full the kernel drops what comes: connecting hangs, as with a firewall that drops.</summary>
    private static async Task<Socket[]> FillBacklogAsync()
    {
        Socket[] filling = [.. Enumerable.Range(0, 4).Select(_ => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp))];
        foreach (Socket socket in filling)
            _ = socket.ConnectAsync(IPAddress.Loopback, Full).ContinueWith(static t => t.Exception, TaskScheduler.Default);
        await Task.Delay(200);
        return filling;
    }

    private static async Task AnswerAsync(Socket listener, CancellationToken cancel)
    {
        try
        {
            while (true)
                _ = TalkAsync(await listener.AcceptAsync(cancel));
        }
        catch (OperationCanceledException)
        {
            // Measured.
        }
    }

    private static async Task TalkAsync(Socket socket)
    {
        using (socket)
        {
            try
            {
                byte[] buffer = new byte[512];
                await socket.SendAsync("220 peer.bench.test ESMTP\r\n"u8.ToArray());
                int n;
                while ((n = await socket.ReceiveAsync(buffer)) > 0)
                {
                    bool quit = buffer.AsSpan(0, n).StartsWith("QUIT"u8);
                    await socket.SendAsync(quit ? "221 bye\r\n"u8.ToArray() : "250-peer.bench.test\r\n250-PIPELINING\r\n250 SIZE 50000000\r\n"u8.ToArray());
                    if (quit)
                        return;
                }
            }
            catch (SocketException)
            {
                // The other side has what it wanted.
            }
        }
    }
}
