using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Mfrelay.Tests;

namespace Mfrelay.IntegrationTests;

/// <summary>An SMTP client that says what a test tells it to.</summary>
internal sealed class Sender : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(15);

    private readonly TcpClient _connection;
    private readonly StreamReader _reader;
    private readonly NetworkStream _stream;

    private Sender(TcpClient connection)
    {
        _connection = connection;
        _connection.NoDelay = true;
        _stream = connection.GetStream();
        _reader = new StreamReader(_stream, Encoding.UTF8);
    }

    /// <summary>Connects and takes the greeting, which is in <see cref="Greeting"/>.</summary>
    public static async Task<Sender> ConnectAsync(IPEndPoint server)
    {
        var connection = new TcpClient(server.AddressFamily);
        await connection.ConnectAsync(server);
        var sender = new Sender(connection);
        sender.Greeting = await sender.ReadReplyAsync();
        return sender;
    }

    public string Greeting { get; private set; } = "";

    public static string QueueIdOf(string reply)
    {
        Match match = Regex.Match(reply, @"^250 2\.0\.0 Ok: queued as (?<id>\S+)$", RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1));
        return match.Success ? match.Groups["id"].Value : throw new FormatException($"No queue id: {reply}");
    }

    public Task<string> HelloAsync() => SayAsync("EHLO sender.example");

    /// <summary>Sends a line, returns the reply.</summary>
    public async Task<string> SayAsync(string line)
    {
        await WriteAsync(Encoding.UTF8.GetBytes(line + "\r\n"));
        return await ReadReplyAsync();
    }

    public Task WriteAsync(byte[] bytes) => _stream.WriteAsync(bytes).AsTask().WaitAsync(Limit);

    /// <summary>One reply, its lines joined by LF; "" at the end of the connection.</summary>
    public Task<string> ReadReplyAsync() => ReplyText.ReadAsync(_reader, Limit);

    /// <summary>MAIL, RCPT, DATA and the mail data; returns the first refusal, or the reply to the dot.</summary>
    public async Task<string> MailAsync(string from, IReadOnlyList<string> recipients, byte[] data)
    {
        string reply = await SayAsync($"MAIL FROM:<{from}>");
        foreach (string recipient in recipients)
        {
            if (reply.StartsWith('2'))
                reply = await SayAsync($"RCPT TO:<{recipient}>");
        }
        if (!reply.StartsWith('2') || !(reply = await SayAsync("DATA")).StartsWith('3'))
            return reply;
        await WriteAsync(Stuffed(data));
        return await ReadReplyAsync();
    }

    /// <summary>True when the server closes the connection.</summary>
    public async Task<bool> EndsAsync()
    {
        try
        {
            return await ReadReplyAsync() is "";
        }
        catch (IOException)
        {
            return true;
        }
    }

    /// <summary>As it goes over the wire: dots doubled at the start of lines (RFC 5321 4.5.2), and the final dot.</summary>
    public static byte[] Stuffed(byte[] data)
    {
        var wire = new MemoryStream(data.Length + 1024);
        bool start = true;
        foreach (byte octet in data)
        {
            if (start && octet == '.')
                wire.WriteByte((byte)'.');
            wire.WriteByte(octet);
            start = octet == '\n';
        }
        wire.Write(".\r\n"u8);
        return wire.ToArray();
    }

    public void Dispose()
    {
        _reader.Dispose();
        _connection.Dispose();
    }
}
