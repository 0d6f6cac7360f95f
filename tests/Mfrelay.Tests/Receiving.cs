using System.Buffers;
using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Net;
using System.Text;
using Mfrelay.Core;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>What mf-smtp-server is without Kestrel: sessions over pipes in memory, a real queue in a directory of its own.</summary>
internal sealed class Receiving : IAsyncDisposable
{
    private readonly string _directory;

    private Receiving(string directory, MailQueue queue, SmtpServices services, ConcurrentQueue<(LogEvent What, string Line)> log) =>
        (_directory, Queue, Services, Log) = (directory, queue, services, log);

    public MailQueue Queue { get; }
    public SmtpServices Services { get; }
    public ConcurrentQueue<(LogEvent What, string Line)> Log { get; }
    public string Spool => Path.Combine(_directory, "queue", "smtp");

    public static Settings DefaultSettings { get; } = new()
    {
        HostName = "relay.example",
        // Nobody waits in a test; those of the limits per client come from elsewhere than the networks that have none.
        Server = new ServerSettings { ErrorDelay = TimeSpan.Zero, AuthFailureDelay = TimeSpan.Zero },
        MailServers = [new MailServer { Domain = "*", Host = "127.0.0.1" }],
    };

    public static async Task<Receiving> StartAsync(Settings? settings = null, TimeProvider? time = null)
    {
        string path = Directory.CreateTempSubdirectory("mfrelay-receiving-").FullName;
        StateDirectory state = StateDirectory.Open(path);
        settings = (settings ?? DefaultSettings) with { StateDirectory = path, RunDirectory = path };
        var lines = new ConcurrentQueue<(LogEvent, string)>();
        MailLog log = MailLog.ToAction(Language.En, (what, line) => lines.Enqueue((what, line)));
        var admission = new Admission(settings, health: null);
        MailQueue queue = await MailQueue.OpenAsync(state, () => admission, log, TimeProvider.System);
        return new Receiving(path, queue, new SmtpServices(() => admission, queue, log, time ?? TimeProvider.System), lines);
    }

    public ReceivingSession Connect(string client = "127.0.0.1", SmtpServices? services = null, IPEndPoint? listener = null) =>
        new(services ?? Services, new IPEndPoint(IPAddress.Parse(client), 40000), listener);

    /// <summary>The same queue under another config.</summary>
    public SmtpServices With(Settings settings, TimeProvider? time = null)
    {
        var admission = new Admission(settings, health: null);
        return new SmtpServices(() => admission, Queue, MailLog.ToAction(Language.En, (what, line) => Log.Enqueue((what, line))), time ?? TimeProvider.System);
    }

    /// <summary>What is in the spool, in order: envelope and mail data.</summary>
    /// <param name="after">Only messages beyond this queue id.</param>
    public List<(Envelope Envelope, byte[] Data)> Stored(QueueId after = default)
    {
        var stored = new List<(Envelope, byte[])>();
        using var reader = new SpoolReader(Spool);
        foreach (long segment in SpoolScanner.Segments(Spool))
        {
            foreach (ScannedRecord record in SpoolScanner.Scan(Spool, segment, 0, checkData: false).Where(record => record.Head.IsMessage && record.Head.Id.Value > after.Value))
            {
                Assert.Null(record.Damage);
                var delivery = new Delivery
                {
                    Id = record.Head.Id,
                    Position = record.Position,
                    Size = record.Head.DataLength,
                    Arrival = default,
                    ReversePath = "",
                    Route = "",
                    Recipients = [],
                };
                using SpooledMessage message = reader.Open(delivery, out string? damage) ?? throw new InvalidOperationException(damage);
                var data = new MemoryStream();
                while (data.Length < message.Size)
                    data.Write(message.Read(data.Length, new byte[65536]).Span);
                stored.Add((message.Envelope, data.ToArray()));
            }
        }
        return stored;
    }

    /// <summary>Where the sender's own octets begin: behind our Received field.</summary>
    public static int AfterTrace(ReadOnlySpan<byte> data)
    {
        Assert.True(data.StartsWith("Received: from "u8));
        int at = 0;
        do
            at += data[at..].IndexOf("\r\n"u8) + 2;
        while (data[at..].StartsWith("\t"u8) && data[(at - 2)..].StartsWith("\r\n"u8) && at < TraceHeader.MaxLength);
        return at;
    }

    public async ValueTask DisposeAsync()
    {
        // Not on a thread of the queue, which a test may have come to by then.
        await Task.Run(Queue.Dispose);
        Directory.Delete(_directory, recursive: true);
    }
}

/// <summary>The client's end of one session. Pipes run inline, so that what is written together is read together.</summary>
internal sealed class ReceivingSession : IDuplexPipe
{
    private static readonly PipeOptions Inline = new(readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline, useSynchronizationContext: false);
    private readonly Pipe _toServer = new(Inline);
    private readonly Pipe _toClient = new(Inline);
    private readonly StringBuilder _received = new();

    public ReceivingSession(SmtpServices services, IPEndPoint client, IPEndPoint? listener = null)
    {
        Connection = new SmtpConnection(this, client, services, listener);
        Run = RunAsync();
    }

    public SmtpConnection Connection { get; }

    /// <summary>Ends with the session.</summary>
    public Task Run { get; }

    PipeReader IDuplexPipe.Input => _toServer.Reader;
    PipeWriter IDuplexPipe.Output => _toClient.Writer;

    public static byte[] Latin1(string text) => Encoding.Latin1.GetBytes(text);

    /// <summary>One write; waits for room, not for a reply.</summary>
    public async Task SendAsync(ReadOnlyMemory<byte> bytes) => await _toServer.Writer.WriteAsync(bytes).AsTask().WaitAsync(TimeSpan.FromSeconds(10));

    public Task SendAsync(string text) => SendAsync(Latin1(text));

    /// <summary>What comes together with the end of the client's stream.</summary>
    public void SendLast(string text)
    {
        _toServer.Writer.Write(Latin1(text));
        End();
    }

    /// <summary>The next reply, all its lines.</summary>
    public async Task<string> ReplyAsync()
    {
        var reply = new StringBuilder();
        while (true)
        {
            string line = await LineAsync() ?? throw new InvalidOperationException($"the server closed after: {reply}");
            reply.Append(line).Append('\n');
            if (line.Length < 4 || line[3] != '-')
                return reply.ToString(0, reply.Length - 1);
        }
    }

    /// <summary>The next line without its CRLF; null at the end of the connection.</summary>
    public async Task<string?> LineAsync()
    {
        while (true)
        {
            int end = _received.ToString().IndexOf("\r\n", StringComparison.Ordinal);
            if (end >= 0)
            {
                string line = _received.ToString(0, end);
                _received.Remove(0, end + 2);
                return line;
            }
            ReadResult result = await _toClient.Reader.ReadAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(10));
            _received.Append(Encoding.Latin1.GetString(result.Buffer.ToArray()));
            _toClient.Reader.AdvanceTo(result.Buffer.End);
            if (result.IsCompleted && result.Buffer.IsEmpty)
                return _received.Length == 0 ? null : throw new InvalidOperationException($"half a line: {_received}");
        }
    }

    public async Task<string> AskAsync(string line)
    {
        await SendAsync(line + "\r\n");
        return await ReplyAsync();
    }

    /// <summary>Greeting, EHLO, MAIL, RCPT.</summary>
    public async Task BeginAsync(string mail = "MAIL FROM:<a@example.org>", params string[] recipients)
    {
        await ReplyAsync();
        Assert.StartsWith("250", await AskAsync("EHLO client.example"), StringComparison.Ordinal);
        Assert.StartsWith("250", await AskAsync(mail), StringComparison.Ordinal);
        foreach (string recipient in recipients.Length == 0 ? ["b@example.com"] : recipients)
            Assert.StartsWith("250", await AskAsync($"RCPT TO:<{recipient}>"), StringComparison.Ordinal);
    }

    /// <summary>The client's end as a stream, for TLS on it.</summary>
    public (Stream FromServer, Stream ToServer) Streams => (_toClient.Reader.AsStream(), _toServer.Writer.AsStream());

    /// <summary>The client closes its end.</summary>
    public void End() => _toServer.Writer.Complete();

    /// <summary>Waits for the end of the session.</summary>
    public Task EndedAsync() => Run.WaitAsync(TimeSpan.FromSeconds(10));

    /// <summary>Octets of replies that the client has not taken.</summary>
    public long Unread
    {
        get
        {
            if (!_toClient.Reader.TryRead(out ReadResult result))
                return 0;
            long length = result.Buffer.Length;
            _toClient.Reader.AdvanceTo(result.Buffer.Start);
            return length;
        }
    }

    private async Task RunAsync()
    {
        try
        {
            using (Connection)
                await Connection.RunAsync();
        }
        finally
        {
            await _toServer.Reader.CompleteAsync();
            await _toClient.Writer.CompleteAsync();
        }
    }
}
