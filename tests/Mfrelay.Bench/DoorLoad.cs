using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Mfrelay.Bench;

/// <summary>
/// mf-smtp-server as a process under connections: memory with 10,000 idle ones, how many it opens and closes in a second, and what 1,000 slow
/// clients cost the others. Clients come from 127.2.0.0/24, since one address has too few ports.
/// </summary>
internal static class DoorLoad
{
    private const int Idle = 10_000;
    private const int Slow = 1_000;
    private const int Churners = 64;
    private const int Senders = 20;
    private static readonly IPEndPoint Door = new(IPAddress.Parse("127.2.1.1"), 2713);
    private static readonly TimeSpan Round = TimeSpan.FromSeconds(10);
    private static int _sources;

    public static async Task<int> RunAsync()
    {
        using var scratch = new Scratch();
        string config = Path.Combine(scratch.Directory.Root, "mfrelay.toml");
        await File.WriteAllTextAsync(config, $"""
            host_name = "relay.bench.test"
            state_directory = "{scratch.Directory.Root}/state"
            run_directory = "{scratch.Directory.Root}/run"
            [server]
            listen = ["{Door}"]
            max_connections = 20000
            max_connections_per_client = 20000
            max_connection_rate = 0
            [[mail_server]]
            domain = "*"
            host = "127.0.0.1"
            port = 2714
            when_down = "queue"
            """);
        using Process server = Process.Start(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "mf-smtp-server"), ["--config", config])
        {
            RedirectStandardOutput = true,
        })!;
        try
        {
            while (await server.StandardOutput.ReadLineAsync() is { } line && !line.Contains("INFO_c101", StringComparison.Ordinal))
                Console.WriteLine(line);
            Task log = server.StandardOutput.BaseStream.CopyToAsync(Stream.Null);
            Console.WriteLine($"load average {(await File.ReadAllTextAsync("/proc/loadavg")).Trim()}");
            await MeasureIdleAsync(server);
            await MeasureChurnAsync(server);
            await MeasureSlowAsync();
            server.Kill();
            await log;
            return 0;
        }
        finally
        {
            if (!server.HasExited)
                server.Kill();
            await server.WaitForExitAsync();
        }
    }

    private static async Task MeasureIdleAsync(Process server)
    {
        long before = Resident(server);
        var clock = Stopwatch.StartNew();
        var clients = new List<Socket>(Idle);
        while (clients.Count < Idle)
            clients.AddRange(await Task.WhenAll(Enumerable.Range(0, 100).Select(_ => GreetedAsync())));
        TimeSpan opened = clock.Elapsed;
        await Task.Delay(TimeSpan.FromSeconds(2));
        Print($"{Idle} idle connections: resident {Resident(server)} MiB (before {before} MiB), opened in {opened.TotalSeconds:0.0} s");
        foreach (Socket client in clients)
            client.Dispose();
        await Task.Delay(TimeSpan.FromSeconds(2));
    }

    private static async Task MeasureChurnAsync(Process server)
    {
        await CountAsync(Churners, OpenAndCloseAsync, TimeSpan.FromSeconds(3)); // compiled by then
        server.Refresh();
        TimeSpan spent = server.TotalProcessorTime;
        int done = await CountAsync(Churners, OpenAndCloseAsync, Round);
        server.Refresh();
        spent = server.TotalProcessorTime - spent;
        Print($"opened and closed: {done / Round.TotalSeconds:0} connections/s, {spent.TotalMicroseconds / done:0} us of processor in the server for each");
    }

    private static async Task MeasureSlowAsync()
    {
        await RateAsync();
        var with = new List<double>();
        var without = new List<double>();
        for (int round = 0; round < 3; round++)
        {
            without.Add(await RateAsync());
            using var stop = new CancellationTokenSource();
            Task slow = BeSlowAsync(await SlowClientsAsync(), stop.Token);
            with.Add(await RateAsync());
            await stop.CancelAsync();
            await slow;
        }
        Print($"messages/s without slow clients {string.Join(' ', without.Select(rate => $"{rate:0}"))}, with {Slow} of them {string.Join(' ', with.Select(rate => $"{rate:0}"))}: {with.Sum() / without.Sum():P0}");
    }

    private static async Task<double> RateAsync() => await CountAsync(Senders, SendTenAsync, Round) * 10 / Round.TotalSeconds;

    /// <summary>How often some clients together do something in a time.</summary>
    private static async Task<int> CountAsync(int clients, Func<Task> action, TimeSpan time)
    {
        int count = 0;
        var clock = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, clients).Select(async _ =>
        {
            while (clock.Elapsed < time)
            {
                await action();
                Interlocked.Increment(ref count);
            }
        }));
        return count;
    }

    private static async Task OpenAndCloseAsync()
    {
        using Socket client = await GreetedAsync();
        await client.SendAsync("QUIT\r\n"u8.ToArray());
        byte[] buffer = new byte[256];
        while (await client.ReceiveAsync(buffer) > 0)
        {
            // 221, and then the end.
        }
    }

    // A session of ten messages.
    private static async Task SendTenAsync()
    {
        using Socket client = await GreetedAsync();
        byte[] mail = Samples.StuffedMail(4096);
        await AskAsync(client, "EHLO src.bench.test\r\n"u8.ToArray(), "250 ");
        for (int i = 0; i < 10; i++)
        {
            await AskAsync(client, "MAIL FROM:<s@src.bench.test>\r\nRCPT TO:<r@peer.bench.test>\r\nDATA\r\n"u8.ToArray(), "354 ");
            await AskAsync(client, mail, "queued as");
        }
    }

    private static async Task AskAsync(Socket client, byte[] octets, string until)
    {
        await client.SendAsync(octets);
        byte[] buffer = new byte[1024];
        var received = new StringBuilder();
        while (!received.ToString().Contains(until, StringComparison.Ordinal))
        {
            int n = await client.ReceiveAsync(buffer);
            if (n == 0)
                throw new InvalidDataException($"closed after: {received}");
            received.Append(Encoding.ASCII.GetString(buffer, 0, n));
        }
    }

    // Half of them in the middle of a command, half in mail data.
    private static async Task<List<Socket>> SlowClientsAsync()
    {
        var clients = new List<Socket>(Slow);
        while (clients.Count < Slow)
        {
            Socket client = await GreetedAsync();
            if (clients.Count % 2 == 0)
                await AskAsync(client, "HELO slow\r\nMAIL FROM:<s@slow.bench.test>\r\nRCPT TO:<r@peer.bench.test>\r\nDATA\r\n"u8.ToArray(), "354 ");
            clients.Add(client);
        }
        return clients;
    }

    /// <summary>An octet a second from each.</summary>
    private static async Task BeSlowAsync(List<Socket> clients, CancellationToken stop)
    {
        byte[] octet = [(byte)'x'];
        try
        {
            while (true)
            {
                foreach (Socket client in clients)
                    await client.SendAsync(octet, stop);
                await Task.Delay(TimeSpan.FromSeconds(1), stop);
            }
        }
        catch (OperationCanceledException)
        {
            foreach (Socket client in clients)
                client.Dispose();
        }
    }

    private static async Task<Socket> GreetedAsync()
    {
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        // The port is chosen when it connects (IP_BIND_ADDRESS_NO_PORT), so that one in use to another address does not matter.
        client.SetRawSocketOption(0, 24, BitConverter.GetBytes(1));
        client.Bind(new IPEndPoint(new IPAddress([127, 2, 0, (byte)(1 + (Interlocked.Increment(ref _sources) % 200))]), 0));
        await client.ConnectAsync(Door);
        byte[] buffer = new byte[256];
        int n = await client.ReceiveAsync(buffer);
        if (!buffer.AsSpan(0, n).StartsWith("220 "u8))
            throw new InvalidDataException($"greeted with: {Encoding.ASCII.GetString(buffer, 0, n)}");
        return client;
    }

    private static long Resident(Process process)
    {
        process.Refresh();
        return process.WorkingSet64 >> 20;
    }

    private static void Print(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));
}
