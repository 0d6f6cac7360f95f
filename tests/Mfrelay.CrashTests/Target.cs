using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Mfrelay.CrashTests;

/// <summary>A mail server that writes down what came whole. It can be down, and it can put mail off.</summary>
internal sealed class Target(Ledger ledger) : IDisposable
{
    private readonly Lock _gate = new();
    private readonly HashSet<TcpClient> _open = [];
    private TcpListener? _listener;

    public IPEndPoint EndPoint { get; private set; } = new(IPAddress.Loopback, 0);

    /// <summary>Mail to "later@" is answered with 450.</summary>
    public bool PutsOff { get; set; }

    public void Start()
    {
        if (_listener is not null)
            return;
        var listener = new TcpListener(EndPoint);
        listener.Start();
        EndPoint = (IPEndPoint)listener.LocalEndpoint;
        _listener = listener;
        _ = AcceptAsync(listener);
    }

    /// <summary>Down: connections are refused, open ones hear 421 at their next message. Nothing that is under way is cut.</summary>
    public void Stop()
    {
        _listener?.Dispose();
        _listener = null;
    }

    public void Dispose()
    {
        Stop();
        lock (_gate)
        {
            foreach (TcpClient session in _open)
                session.Close();
        }
    }

    private async Task AcceptAsync(TcpListener listener)
    {
        try
        {
            while (true)
            {
                TcpClient session = await listener.AcceptTcpClientAsync();
                session.NoDelay = true; // or the second of two replies waits 40 ms for the acknowledgement of the first
                lock (_gate)
                    _open.Add(session);
                _ = Task.Run(() => ServeAsync(session));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }

    private async Task ServeAsync(TcpClient connection)
    {
        var session = new TargetSession();
        try
        {
            using (connection)
            {
                using var reader = new StreamReader(connection.GetStream(), Encoding.ASCII, false, 64 * 1024);
                NetworkStream stream = connection.GetStream();
                if (!await TalkAsync(reader, line => stream.WriteAsync(Encoding.ASCII.GetBytes(line + "\r\n")).AsTask(), session))
                    session.Cut = Stopwatch.GetTimestamp();
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            session.Cut = Stopwatch.GetTimestamp();
        }
        lock (_gate)
            _open.Remove(connection);
    }

    /// <summary>False when the connection ends without QUIT.</summary>
    private async Task<bool> TalkAsync(StreamReader reader, Func<string, Task> say, TargetSession session)
    {
        await say("220 target.example ESMTP");
        while (await reader.ReadLineAsync() is { } line)
        {
            switch (line.Split(' ')[0].ToUpperInvariant())
            {
                case "EHLO":
                    await say("250-target.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0");
                    break;
                case "MAIL" when _listener is null:
                    await say("421 4.3.2 going down");
                    return true;
                case "RCPT" when PutsOff && line.Contains("later@", StringComparison.Ordinal):
                    await say("450 4.2.1 later");
                    break;
                case "DATA":
                    await say("354 go on");
                    if (!await TakeAsync(reader, session))
                        return false;
                    await say("250 2.0.0 kept");
                    break;
                case "QUIT":
                    await say("221 2.0.0 bye");
                    return true;
                default:
                    await say("250 2.0.0 ok");
                    break;
            }
        }
        return false;
    }

    /// <summary>False when the connection ends within the mail data.</summary>
    private async Task<bool> TakeAsync(StreamReader reader, TargetSession session)
    {
        int id = 0;
        int left = 0;
        while (await reader.ReadLineAsync() is { } line)
        {
            if (line is ".")
            {
                if (id != 0 && left == 0)
                    ledger.Arrive(id, session);
                else if (id != 0 || left != 0)
                    ledger.ArriveDamaged(session);
                return true;
            }
            if (id != 0)
                left -= line.Length == 76 && line.AsSpan().IndexOfAnyExcept('x') < 0 ? 1 : 1_000_000;
            else if (line.StartsWith("id ", StringComparison.Ordinal))
            {
                string[] parts = line.Split(' ');
                id = int.Parse(parts[1], CultureInfo.InvariantCulture);
                left = int.Parse(parts[2], CultureInfo.InvariantCulture);
            }
        }
        return false;
    }
}
