using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using Mfrelay.Core;
using Mfrelay.Server;

namespace Mfrelay.Fuzz;

/// <summary>
/// Whole sessions through the real pump, queue and spool (the first octet chooses where the input is cut). Oracles: the input at once and cut
/// anywhere gives the same replies and the same mail in the spool; a reply for each command; as many messages as were acknowledged.
/// </summary>
internal static partial class DialogTarget
{
    private const int SessionsPerQueue = 20_000;

    private static readonly PipeOptions Inline =
        new(readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline, useSynchronizationContext: false, pauseWriterThreshold: 0);

    private static readonly IPEndPoint Client = new(IPAddress.Loopback, 40000);
    private static MailQueue? _queue;
    private static SmtpServices? _services;
    private static string _directory = "";
    private static SpoolPosition _end;
    private static int _sessions;
    private static volatile string? _unexpected;

    public static FuzzTarget Target { get; } = new("dialog", Run, FuzzTarget.Words(
        "EHLO x\r\n", "HELO x\r\n", "MAIL FROM:<a@example.org>\r\n", "MAIL FROM:<> SIZE=9\r\n", "RCPT TO:<b@example.com>\r\n", "DATA\r\n", ".\r\n", "\r\n.\r\n", "..\r\n", "BDAT 3\r\n",
        "BDAT 0 LAST\r\n", "BDAT 5 LAST\r\nabc\r\n", "RSET\r\n", "NOOP\r\n", "QUIT\r\n", "STARTTLS\r\n", "AUTH PLAIN\r\n", "\r\n", "\n", "\r", "\0", "Received: x\r\n",
        "EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n", "x\r\n.\r\n"));

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        byte cuts = input[0];
        byte[] octets = input[1..].ToArray();
        Open();
        (string Replies, string Mail) whole = Talk(octets, octets.Length);
        (string Replies, string Mail) pieces = Talk(octets, cuts);
        Oracle.Holds(whole.Replies == pieces.Replies, $"cut anywhere the replies are the same:\n{whole.Replies}---\n{pieces.Replies}");
        Oracle.Holds(whole.Mail == pieces.Mail, "cut anywhere the mail is the same");
        Oracle.Holds(_unexpected is null, $"an exception: {_unexpected}");
    }

    private static void Open()
    {
        if (_services is not null && _sessions++ < SessionsPerQueue)
            return;
        Close();
        _sessions = 0;
        _directory = Memory.NewDirectory();
        var settings = new Settings
        {
            HostName = "relay.example",
            StateDirectory = _directory,
            RunDirectory = _directory,
            Server = new ServerSettings { ErrorDelay = TimeSpan.Zero, MaxMessageSize = 400, MaxHeaderSize = 100, MaxTextLine = 60, MaxHops = 2, MaxCommandLine = 100 },
            MailServers = [new MailServer { Domain = "*", Host = "192.0.2.9" }],
        };
        var admission = new Admission(settings, health: null);
        MailLog log = MailLog.ToAction(Language.En, static (what, line) => _unexpected ??= what == LogEvents.Unexpected ? line : null);
        // A clock that stands still: mail is never due for the queue table, which is not what is looked at here.
        _queue = MailQueue.OpenAsync(StateDirectory.Open(_directory), () => admission, log, new StoppedClock()).GetAwaiter().GetResult();
        _services = new SmtpServices(() => admission, _queue, log, TimeProvider.System);
        _end = default;
    }

    private static void Close()
    {
        if (_queue is null)
            return;
        _queue.Spool.Dispose();
        Directory.Delete(_directory, recursive: true);
        Directory.CreateDirectory(_directory);
    }

    private static (string Replies, string Mail) Talk(byte[] octets, int piece)
    {
        var session = new Session(_services!);
        for (int at = 0; at < octets.Length;)
        {
            int n = Math.Min(Math.Max(piece, 1), octets.Length - at);
            session.Send(octets.AsSpan(at, n));
            at += n;
        }
        string replies = session.End();
        int queued = replies.Split("queued as").Length - 1;
        string mail = queued > 0 ? Stored(queued) : "";
        // Which limit is named, of several that a message is over, is the one that was reached first: that depends on how it comes.
        replies = LimitForm.Replace(replies, "over a limit");
        return (QueueIdForm.Replace(replies, "queued as ID"), mail);
    }

    private static string Stored(int queued)
    {
        string spool = Path.Combine(_directory, "queue", "smtp");
        var mail = new StringBuilder();
        using var reader = new SpoolReader(spool);
        foreach (long segment in SpoolScanner.Segments(spool).Where(segment => segment >= _end.Segment))
        {
            foreach (ScannedRecord record in SpoolScanner.Scan(spool, segment, segment == _end.Segment ? _end.Offset : 0, checkData: true))
            {
                Oracle.Holds(record.Damage is null, "the spool is sound");
                _end = record.End;
                if (record.Envelope is not { } envelope)
                    continue;
                queued--;
                var delivery = new Delivery { Id = envelope.Id, Position = record.Position, Size = record.Head.DataLength, Arrival = default, ReversePath = "", Route = "", Recipients = [] };
                using SpooledMessage message = reader.Open(delivery, out string? damage) ?? throw new OracleException(damage!);
                string data = Encoding.Latin1.GetString(message.Read(0, default).Span);
                mail.Append(envelope.ReversePath).Append(' ').AppendJoin(' ', envelope.Recipients).Append('\n').Append(TraceForm.Replace(data, "Received: OURS\r\n", 1));
            }
        }
        Oracle.Holds(queued == 0, "as many messages in the spool as were acknowledged");
        return mail.ToString();
    }

    [GeneratedRegex("552 5.3.4 Message (?:size|header) exceeds the limit|554 5.6.0 Line of mail data too long|554 5.4.6 Too many hops: the message loops")]
    private static partial Regex LimitForm { get; }

    [GeneratedRegex("queued as [0-9a-z_]{13}")]
    private static partial Regex QueueIdForm { get; }

    [GeneratedRegex(@"\AReceived: from [^\r]*\r\n\tby [^\r]*\r\n(?:\tfor [^\r]*\r\n)?\t[^\r]*\r\n")]
    private static partial Regex TraceForm { get; }

    /// <summary>The client's end of one session.</summary>
    private sealed class Session : IDuplexPipe
    {
        private readonly Pipe _toServer = new(Inline);
        private readonly Pipe _toClient = new(Inline);
        private readonly Task _run;

        public Session(SmtpServices services) => _run = RunAsync(services);

        public PipeReader Input => _toServer.Reader;
        public PipeWriter Output => _toClient.Writer;

        public void Send(ReadOnlySpan<byte> octets)
        {
            _toServer.Writer.Write(octets);
            _ = _toServer.Writer.FlushAsync().AsTask();
        }

        public string End()
        {
            _toServer.Writer.Complete();
            if (!_run.Wait(TimeSpan.FromSeconds(10)))
                throw new OracleException("the session does not end");
            ReadResult result = _toClient.Reader.ReadAsync().AsTask().GetAwaiter().GetResult();
            string replies = Encoding.ASCII.GetString(result.Buffer.ToArray());
            _toClient.Reader.Complete();
            return replies;
        }

        private async Task RunAsync(SmtpServices services)
        {
            using (var connection = new SmtpConnection(this, Client, services))
                await connection.RunAsync();
            await _toServer.Reader.CompleteAsync();
            await _toClient.Writer.CompleteAsync();
        }
    }

    private sealed class StoppedClock : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => new NeverDue();

        private sealed class NeverDue : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period) => true;
            public void Dispose()
            {
                // Nothing to let go.
            }

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }
}
