using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Mfrelay.IntegrationTests;

/// <param name="Data">Mail data without the doubled dots.</param>
internal sealed record Received(string From, IReadOnlyList<string> To, byte[] Data);

/// <summary>
/// A mail server that keeps what it gets, and answers as a test wants. It can be stopped, which cuts its sessions off, and started
/// again on its port.
/// </summary>
internal sealed class Sink : IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<Received> _mail = [];
    private readonly List<Socket> _sessions = [];
    private Socket? _listener;

    private int _behind;

    public Sink(bool started = true)
    {
        EndPoint = Loopback.FreeEndPoint();
        if (started)
            Start();
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>Of the final dots so many had commands behind them.</summary>
    public int Behind => Volatile.Read(ref _behind);

    /// <summary>Throws away what stands behind a final dot, though it says PIPELINING.</summary>
    public bool DropsBehind { get; set; }

    /// <summary>Asked with each command line, and with "." at the end of mail data: a reply, or null for the usual one.</summary>
    public Func<string, Task<string?>> Script { get; set; } = _ => Task.FromResult<string?>(null);

    /// <summary>What it has accepted, in the order of arrival. A message is in here before its sender gets the reply.</summary>
    public IReadOnlyList<Received> Mail
    {
        get
        {
            lock (_gate)
                return [.. _mail];
        }
    }

    public void Start()
    {
        _listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        _listener.Bind(EndPoint);
        _listener.Listen();
        _ = AcceptAsync(_listener);
    }

    public void Stop()
    {
        _listener?.Dispose();
        lock (_gate)
        {
            foreach (Socket session in _sessions)
                session.Dispose();
            _sessions.Clear();
        }
    }

    public void Dispose() => Stop();

    /// <summary>Waits until so many messages are there; fails when they are not in time.</summary>
    public async Task WaitForAsync(int count, int seconds = 15)
    {
        var limit = TimeSpan.FromSeconds(seconds);
        long began = TimeProvider.System.GetTimestamp();
        while (Mail.Count < count)
        {
            if (TimeProvider.System.GetElapsedTime(began) > limit)
                throw new TimeoutException($"{Mail.Count} of {count} messages have arrived");
            await Task.Delay(20);
        }
    }

    private async Task AcceptAsync(Socket listener)
    {
        try
        {
            while (true)
            {
                Socket session = await listener.AcceptAsync();
                lock (_gate)
                    _sessions.Add(session);
                _ = Task.Run(() => ServeAsync(session));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        try
        {
            using var stream = new NetworkStream(socket, ownsSocket: true);
            await TalkAsync(new Wire(stream));
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // Cut off, by the test or by the client.
        }
    }

    private async Task TalkAsync(Wire wire)
    {
        string from = "";
        List<string> to = [];
        await wire.WriteAsync("220 sink.example ESMTP");
        while (await wire.ReadLineAsync() is { } bytes)
        {
            string line = Encoding.UTF8.GetString(bytes).TrimEnd('\r', '\n');
            string verb = line.Split(' ', ':')[0].ToUpperInvariant();
            string reply = await Script(line) ?? verb switch
            {
                "EHLO" => "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 0",
                "DATA" => to.Count > 0 ? "354 go on" : "554 5.5.1 no recipients",
                "QUIT" => "221 2.0.0 bye",
                _ => "250 2.0.0 ok",
            };
            bool accepted = reply.StartsWith('2');
            if (verb is "MAIL" && accepted)
                (from, to) = (Path(line), []);
            else if (verb is "RCPT" && accepted)
                to.Add(Path(line));
            else if (verb is "RSET" or "EHLO" or "HELO")
                to = [];
            else if (verb is "DATA" && reply.StartsWith('3'))
            {
                await wire.WriteAsync(reply);
                if (await ReadDataAsync(wire) is not { } data)
                    return;
                if (wire.Buffered > 0)
                    Interlocked.Increment(ref _behind);
                if (DropsBehind)
                    wire.Drop();
                reply = await Script(".") ?? "250 2.0.0 kept";
                if (reply.StartsWith('2'))
                {
                    lock (_gate)
                        _mail.Add(new Received(from, to, data));
                }
                to = [];
            }
            await wire.WriteAsync(reply);
            if (verb is "QUIT" || reply.StartsWith("421", StringComparison.Ordinal))
                return;
        }
    }

    private static string Path(string line) => line[(line.IndexOf('<', StringComparison.Ordinal) + 1)..line.IndexOf('>', StringComparison.Ordinal)];

    private static async Task<byte[]?> ReadDataAsync(Wire wire)
    {
        var data = new MemoryStream();
        while (await wire.ReadLineAsync() is { } line)
        {
            if (line.AsSpan().SequenceEqual(".\r\n"u8))
                return data.ToArray();
            data.Write(line.AsSpan(line[0] == '.' ? 1 : 0));
        }
        return null;
    }

    private sealed class Wire(NetworkStream stream)
    {
        private readonly byte[] _buffer = new byte[64 * 1024];
        private int _start;
        private int _end;

        public int Buffered => _end - _start;

        public void Drop() => _start = _end;

        public Task WriteAsync(string reply) => stream.WriteAsync(Encoding.UTF8.GetBytes(reply + "\r\n")).AsTask();

        /// <summary>Through the next LF; null at the end of the connection.</summary>
        public async ValueTask<byte[]?> ReadLineAsync()
        {
            byte[] head = [];
            while (true)
            {
                int lf = _buffer.AsSpan(_start, _end - _start).IndexOf((byte)'\n');
                int count = lf < 0 ? _end - _start : lf + 1;
                byte[] line = [.. head, .. _buffer.AsSpan(_start, count)];
                _start += count;
                if (lf >= 0)
                    return line;
                head = line;
                (_start, _end) = (0, await stream.ReadAsync(_buffer));
                if (_end == 0)
                    return null;
            }
        }
    }
}
