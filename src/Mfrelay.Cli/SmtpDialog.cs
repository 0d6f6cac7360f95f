using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Mfrelay.Cli;

/// <summary>A reply that was not the one that a step needs, or none at all.</summary>
internal sealed class DialogException(string message) : Exception(message);

/// <summary>The sending half of RFC 5321, as small as a demonstration needs: one message in one session.</summary>
internal sealed class SmtpDialog : IDisposable
{
    private readonly TcpClient _connection;
    private readonly NetworkStream _stream;
    private readonly StreamReader _replies;

    private readonly Action<string>? _shown;

    private SmtpDialog(TcpClient connection, Action<string>? shown)
    {
        (_connection, _shown) = (connection, shown);
        _stream = connection.GetStream();
        _replies = new StreamReader(_stream, Encoding.UTF8);
    }

    /// <summary>Connects and reads the greeting.</summary>
    /// <param name="shown">Given each line of the dialog but those of mail data.</param>
    public static async Task<(SmtpDialog Dialog, string Greeting)> ConnectAsync(IPEndPoint server, CancellationToken cancel, Action<string>? shown = null)
    {
        var connection = new TcpClient(server.AddressFamily) { NoDelay = true };
        try
        {
            await connection.ConnectAsync(server, cancel);
            var dialog = new SmtpDialog(connection, shown);
            return (dialog, await dialog.ReadAsync("220", "greeting", cancel));
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>One transaction. Returns the reply to the mail data; any other than 250 throws <see cref="DialogException"/>.</summary>
    /// <param name="mailData">Ends in CRLF, not dot-stuffed.</param>
    public async Task<string> SendAsync(string helo, string reversePath, string forwardPath, string mailData, CancellationToken cancel)
    {
        await HelloAsync(helo, cancel);
        return await SendAsync(
            [$"MAIL FROM:<{reversePath}> BODY=8BITMIME", $"RCPT TO:<{forwardPath}>"], Encoding.UTF8.GetBytes(mailData), cancel);
    }

    /// <summary>One transaction of commands and octets as they are; any refusal throws <see cref="DialogException"/>.</summary>
    /// <param name="mailData">Ends in CRLF, not dot-stuffed.</param>
    public async Task<string> SendAsync(IEnumerable<string> commands, ReadOnlyMemory<byte> mailData, CancellationToken cancel)
    {
        foreach (string command in commands)
            await AskAsync(command, "250", cancel);
        await AskAsync("DATA", "354", cancel);
        // A line that begins with a dot gets a second one (RFC 5321 4.5.2).
        for (bool first = true; !mailData.IsEmpty; first = false)
        {
            int end = mailData.Span.IndexOf("\r\n."u8);
            ReadOnlyMemory<byte> part = end < 0 ? mailData : mailData[..(end + 2)];
            if (part.Span[0] == '.' || !first)
                await _stream.WriteAsync("."u8.ToArray(), cancel);
            await _stream.WriteAsync(part, cancel);
            mailData = mailData[part.Length..];
        }
        await WriteLineAsync(".", cancel);
        return await ReadAsync("250", "mail data", cancel);
    }

    public Task<string> ResetAsync(CancellationToken cancel) => AskAsync("RSET", "250", cancel);

    public Task<string> HelloAsync(string helo, CancellationToken cancel) => AskAsync($"EHLO {helo}", "250", cancel);

    public Task<string> QuitAsync(CancellationToken cancel) => AskAsync("QUIT", "221", cancel);

    public void Dispose()
    {
        _replies.Dispose();
        _connection.Dispose();
    }

    private async Task<string> AskAsync(string command, string code, CancellationToken cancel)
    {
        _shown?.Invoke($"> {command}");
        await WriteLineAsync(command, cancel);
        return await ReadAsync(code, command, cancel);
    }

    private async Task WriteLineAsync(string text, CancellationToken cancel) =>
        await _stream.WriteAsync(Encoding.UTF8.GetBytes($"{text}\r\n"), cancel);

    private async Task<string> ReadAsync(string code, string to, CancellationToken cancel)
    {
        while (true)
        {
            string line = await _replies.ReadLineAsync(cancel) ?? throw new DialogException($"{to}: the connection was closed");
            _shown?.Invoke($"< {line}");
            if (line.Length > 3 && line[3] == '-')
                continue;
            return line.StartsWith(code, StringComparison.Ordinal) ? line : throw new DialogException($"{to}: {line}");
        }
    }
}
