using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Mfrelay.CrashTests;

/// <summary>A mail server that counts, for each message id, how often it came whole.</summary>
internal sealed class Target : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private int _damaged;

    public Target()
    {
        _listener.Start();
        _ = AcceptAsync();
    }

    public IPEndPoint EndPoint => (IPEndPoint)_listener.LocalEndpoint;
    public ConcurrentDictionary<int, int> Delivered { get; } = new();
    public int Damaged => _damaged;

    public void Dispose() => _listener.Dispose();

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                TcpClient session = await _listener.AcceptTcpClientAsync();
                _ = Task.Run(() => ServeAsync(session));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The end.
        }
    }

    private async Task ServeAsync(TcpClient session)
    {
        try
        {
            using (session)
            {
                using var reader = new StreamReader(session.GetStream(), Encoding.ASCII, false, 64 * 1024);
                await TalkAsync(reader, line => session.GetStream().WriteAsync(Encoding.ASCII.GetBytes(line + "\r\n")).AsTask());
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The client was killed.
        }
    }

    private async Task TalkAsync(StreamReader reader, Func<string, Task> say)
    {
        await say("220 target.example ESMTP");
        while (await reader.ReadLineAsync() is { } line)
        {
            switch (line.Split(' ')[0].ToUpperInvariant())
            {
                case "EHLO":
                    await say("250-target.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0");
                    break;
                case "DATA":
                    await say("354 go on");
                    if (!await TakeAsync(reader))
                        return;
                    await say("250 2.0.0 kept");
                    break;
                case "QUIT":
                    await say("221 2.0.0 bye");
                    return;
                default:
                    await say("250 2.0.0 ok");
                    break;
            }
        }
    }

    /// <summary>False when the connection ends within the mail data.</summary>
    private async Task<bool> TakeAsync(StreamReader reader)
    {
        int id = 0;
        int left = 0;
        while (await reader.ReadLineAsync() is { } line)
        {
            if (line is ".")
            {
                if (id != 0 && left == 0)
                    Delivered.AddOrUpdate(id, 1, (_, count) => count + 1);
                else
                    Interlocked.Increment(ref _damaged);
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
