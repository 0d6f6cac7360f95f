using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Mfrelay.Cli;

/// <summary>
/// The downstream of the demonstration: an SMTP server on a free loopback port that takes everything, keeps nothing, and tells what came.
/// RFC 5321 with PIPELINING, 8BITMIME, SMTPUTF8 and SIZE.
/// </summary>
internal sealed class ReceivingServer : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Action<ArrivedMail> _arrived;

    /// <param name="arrived">Is told of each message before the server answers 250 for it.</param>
    public ReceivingServer(Action<ArrivedMail> arrived)
    {
        _arrived = arrived;
        _listener.Start();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Serves until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        while (true)
        {
            TcpClient connection;
            try
            {
                connection = await _listener.AcceptTcpClientAsync(cancel);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            _ = ServeAsync(connection, cancel);
        }
    }

    public void Dispose() => _listener.Dispose();

    private async Task ServeAsync(TcpClient connection, CancellationToken cancel)
    {
        using (connection)
        using (var session = new ReceivingSession(connection.GetStream(), _arrived))
        {
            try
            {
                await session.RunAsync(cancel);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                // The peer went away, or the demonstration is over.
            }
        }
    }
}

/// <summary>One session. Replies are sent when no command waits in the buffer, so that pipelined ones are answered together (RFC 2920).</summary>
internal sealed class ReceivingSession(Stream stream, Action<ArrivedMail> arrived) : IDisposable
{
    private const int MostLine = 8192;
    private const string Name = "downstream.example";

    private readonly byte[] _input = new byte[64 * 1024];
    private readonly StringBuilder _replies = new();
    private readonly List<byte> _line = [];
    private readonly List<string> _forwardPaths = [];
    private string? _reversePath;
    private int _next;
    private int _end;

    public async Task RunAsync(CancellationToken cancel)
    {
        Reply($"220 {Name} ESMTP");
        while (await ReadLineAsync(cancel) is { } line)
        {
            if (!await AnswerAsync(line, cancel))
                break;
        }
        await FlushAsync(cancel);
    }

    public void Dispose() => stream.Dispose();

    /// <summary>False ends the session.</summary>
    private async Task<bool> AnswerAsync(string line, CancellationToken cancel)
    {
        string verb = line.Split(' ', 2)[0].ToUpperInvariant();
        switch (verb)
        {
            case "EHLO":
                Reset();
                Reply($"250-{Name}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 2147483648");
                return true;
            case "HELO" or "RSET":
                Reset();
                Reply($"250 {Name}");
                return true;
            case "NOOP":
                Reply("250 2.0.0 Ok");
                return true;
            case "QUIT":
                Reply("221 2.0.0 Bye");
                return false;
            case "MAIL" when _reversePath is null && PathIn(line, "MAIL FROM:") is { } reversePath:
                _reversePath = reversePath;
                Reply("250 2.1.0 Ok");
                return true;
            case "RCPT" when _reversePath is not null && PathIn(line, "RCPT TO:") is { Length: > 0 } forwardPath:
                _forwardPaths.Add(forwardPath);
                Reply("250 2.1.5 Ok");
                return true;
            case "DATA" when _forwardPaths.Count > 0:
                Reply("354 End data with <CR><LF>.<CR><LF>");
                return await ReceiveAsync(cancel);
            case "MAIL" or "RCPT" or "DATA":
                Reply("503 5.5.1 Bad sequence of commands, or bad syntax");
                return true;
            default:
                Reply("502 5.5.1 Command not implemented");
                return true;
        }
    }

    private async Task<bool> ReceiveAsync(CancellationToken cancel)
    {
        using var mail = new ArrivingMail();
        while (true)
        {
            while (_next < _end)
            {
                if (!mail.Take(_input[_next++]))
                    continue;
                arrived(mail.Complete(_reversePath!, [.. _forwardPaths]));
                Reset();
                Reply("250 2.0.0 Ok");
                return true;
            }
            if (!await FillAsync(cancel))
                return false;
        }
    }

    private void Reset()
    {
        _reversePath = null;
        _forwardPaths.Clear();
    }

    private void Reply(string text) => _replies.Append(text).Append("\r\n");

    /// <summary>A command line without its end; null at the end of the stream.</summary>
    private async Task<string?> ReadLineAsync(CancellationToken cancel)
    {
        _line.Clear();
        while (true)
        {
            while (_next < _end)
            {
                byte octet = _input[_next++];
                if (octet == '\n')
                    return Encoding.UTF8.GetString([.. _line]).TrimEnd('\r');
                if (_line.Count == MostLine)
                    return null;
                _line.Add(octet);
            }
            if (!await FillAsync(cancel))
                return null;
        }
    }

    private async Task<bool> FillAsync(CancellationToken cancel)
    {
        await FlushAsync(cancel);
        _next = 0;
        _end = await stream.ReadAsync(_input, cancel);
        return _end > 0;
    }

    private async Task FlushAsync(CancellationToken cancel)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(_replies.ToString());
        _replies.Clear();
        await stream.WriteAsync(bytes, cancel);
    }

    private static string? PathIn(string line, string verb)
    {
        int open = line.IndexOf('<', StringComparison.Ordinal);
        int close = line.IndexOf('>', StringComparison.Ordinal);
        return line.StartsWith(verb, StringComparison.OrdinalIgnoreCase) && open >= 0 && close > open ? line[(open + 1)..close] : null;
    }
}
