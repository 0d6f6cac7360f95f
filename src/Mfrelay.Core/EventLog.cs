namespace Mfrelay.Core;

/// <summary>What became known of a message when it was accepted, beside its envelope.</summary>
/// <param name="Connected">When the client's session began.</param>
/// <param name="User">Who it has authenticated as; null for nobody.</param>
/// <param name="MessageId">Of its header, without the brackets; empty when there is none.</param>
/// <param name="Delay">From the first octet of mail data to its acknowledgement.</param>
public readonly record struct Reception(DateTimeOffset Connected, string? User, string MessageId, long Size, TimeSpan Delay);

/// <summary>What an attempt came to for some recipients: often for all, who share the reply to the mail data.</summary>
/// <param name="Server">Null when none was tried.</param>
/// <param name="Reply">Of the mail server, or why there was none.</param>
/// <param name="Delay">Since the message arrived.</param>
public readonly record struct RecipientResult(
    Delivery Delivery, SpooledMessage Message, MailServer? Server, IReadOnlyList<string> To, string Stage, string Reply, TimeSpan Delay, TimeSpan Duration = default)
{
    /// <summary>As the journal has it: "rcpt: 550 5.1.1 no such user".</summary>
    public string Text => $"{Stage}: {Reply}";
}

/// <summary>
/// The life of each message in files that "mfrelay trace" reads, a JSON object per line, and with access_log = "m-filter" the end of it as CSV.
/// Called by <see cref="MailLog"/> alone. A line is made where the event happens and written by a thread of its own, many at once; when that
/// cannot keep up or the disk refuses, lines are lost and counted, and mail never waits.
/// </summary>
public sealed class EventLog : IDisposable
{
    /// <summary>Octets that may wait for a disk that hangs.</summary>
    private const long MostWaiting = 32 << 20;

    /// <summary>How long the first line waits for others, so that the thread wakes a few times a second at most.</summary>
    private static readonly TimeSpan Linger = TimeSpan.FromMilliseconds(200);

    private readonly TimeProvider _time;
    private readonly DailyFile _trace;
    private readonly DailyFile _access;
    private readonly Intake<Line> _intake = new();
    private readonly ManualResetEvent _ending = new(initialState: false);
    private readonly ITimer _midnight;
    private readonly Thread _thread;
    private volatile Settings _settings;
    private long _waiting;
    private long _dropped;
    private DateOnly _today;

    /// <param name="process">"server" or "client".</param>
    public EventLog(string process, Settings settings, MailLog log, TimeProvider time)
    {
        (_settings, _time) = (settings, time);
        _trace = new DailyFile($"trace-{process}", "jsonl", Folder, () => _settings.TraceDays, Leave, log);
        _access = new DailyFile($"access-{process}", "csv", Folder, () => _settings.AccessLogDays, Leave, log);
        _midnight = time.CreateTimer(static intake => ((Intake<Line>)intake!).Wake(), _intake, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _thread = new Thread(Run) { Name = "events", IsBackground = true };
        _intake.Wake();
        _thread.Start();
    }

    private bool HasTrace => _settings.TraceDays > 0;
    private bool HasAccess => _settings.AccessLog == AccessLog.MFilter;

    /// <summary>After a reload.</summary>
    public void Use(Settings settings)
    {
        _settings = settings;
        _intake.Wake();
    }

    /// <summary>Writes what waits.</summary>
    public void Dispose()
    {
        if (!_intake.Stop())
            return;
        _ending.Set();
        _thread.Join();
        _midnight.Dispose();
        _trace.Dispose();
        _access.Dispose();
        _ending.Dispose();
    }

    internal void Accepted(Envelope envelope, in Reception reception)
    {
        if (!HasTrace)
            return;
        EventLine line = Begin(envelope.Id, "accepted"u8, out DateTimeOffset now);
        line.Field("connected"u8, TimeZoneInfo.ConvertTime(reception.Connected, _time.LocalTimeZone));
        line.Field("client"u8, envelope.ClientAddress);
        line.Field("helo"u8, envelope.HeloName);
        line.Field("protocol"u8, envelope.Protocol);
        if (reception.User is not null)
            line.Field("user"u8, reception.User);
        line.Field("from"u8, envelope.ReversePath);
        line.Field("to"u8, envelope.Recipients);
        line.Field("size"u8, reception.Size);
        line.Field("message_id"u8, reception.MessageId);
        line.Field("delay"u8, reception.Delay);
        End(line, now);
    }

    /// <param name="id">0 before mail data.</param>
    /// <param name="to">The recipient that was refused, or all of them; none when the sender was.</param>
    internal void Refused(QueueId id, string client, string from, IReadOnlyList<Recipient> to, string stage, string reply, string messageId, long size)
    {
        // A command that is about no message.
        if (from.Length == 0 && to.Count == 0)
            return;
        if (HasTrace)
        {
            EventLine line = Begin(id, "refused"u8, out DateTimeOffset now);
            line.Field("client"u8, client);
            line.Field("from"u8, from);
            line.Field("to"u8, to);
            line.Field("stage"u8, stage);
            line.Field("reply"u8, reply);
            line.Field("message_id"u8, messageId);
            End(line, now);
        }
        if (!HasAccess)
            return;
        foreach (string recipient in to.Count == 0 ? [""] : to.Select(recipient => recipient.ForwardPath))
            Access(id, null, "", client, from, recipient, "", 0, reply, stage, size, messageId);
    }

    internal void Lost(string client, string from, IReadOnlyList<Recipient> to, string stage, string reason)
    {
        if (!HasTrace || (from.Length == 0 && to.Count == 0))
            return;
        EventLine line = Begin(default, "lost"u8, out DateTimeOffset now);
        line.Field("client"u8, client);
        line.Field("from"u8, from);
        line.Field("to"u8, to);
        line.Field("stage"u8, stage);
        line.Field("reply"u8, reason);
        End(line, now);
    }

    /// <param name="disposition">delivered, deferred, uncertain, failed or expired.</param>
    /// <param name="isEnd">There will be no other attempt.</param>
    internal void Result(in RecipientResult result, ReadOnlySpan<byte> disposition, bool isEnd, DateTimeOffset? next = null, string status = "")
    {
        (Delivery delivery, MailServer? server) = (result.Delivery, result.Server);
        if (HasTrace)
        {
            EventLine line = Begin(delivery.Id, disposition, out DateTimeOffset now);
            line.Field("from"u8, delivery.ReversePath);
            int before = line.Length;
            line.Field("to"u8, result.To[0]);
            int after = line.Length;
            if (server is not null)
            {
                line.Field("host"u8, server.Host);
                line.Field("port"u8, server.Port);
            }
            line.Field("stage"u8, result.Stage);
            line.Field("reply"u8, result.Reply);
            if (status.Length > 0)
                line.Field("status"u8, status);
            line.Field("delay"u8, result.Delay);
            line.Field("seconds"u8, result.Duration);
            if (next is { } time)
                line.Field("next"u8, TimeZoneInfo.ConvertTime(time, _time.LocalTimeZone));
            End(line, now, result.To, before, after);
        }
        if (!isEnd || !HasAccess)
            return;
        foreach (string to in result.To)
        {
            Access(delivery.Id, delivery.Arrival, delivery.Route, result.Message.Envelope.ClientAddress, delivery.ReversePath, to,
                server?.Host ?? "", server?.Port ?? 0, result.Reply, result.Stage, delivery.Size, result.Message.MessageId);
        }
    }

    internal void Notice(QueueId id, QueueId notice, string to, string kind)
    {
        if (!HasTrace)
            return;
        EventLine line = Begin(id, "notice"u8, out DateTimeOffset now);
        line.Field("notice"u8, notice.ToString());
        line.Field("to"u8, to);
        line.Field("kind"u8, kind);
        End(line, now);
    }

    /// <summary>What else happens to a message: an operator's order, a place that cannot be read, a notice that nobody gets.</summary>
    internal void Other(QueueId id, ReadOnlySpan<byte> what, string from, IEnumerable<string> to, string reason)
    {
        if (!HasTrace)
            return;
        EventLine line = Begin(id, what, out DateTimeOffset now);
        line.Field("from"u8, from);
        line.Field("to"u8, to);
        if (reason.Length > 0)
            line.Field("reply"u8, reason);
        End(line, now);
    }

    /// <summary>
    /// log time, id, receive time, group, client, from, to, next hop, port, reply, stage, size, Message-ID. Documented in mfrelay.toml(5).
    /// </summary>
    private void Access(QueueId id, DateTimeOffset? arrival, string group, string client, string from, string to,
        string host, int port, string reply, string stage, long size, string messageId)
    {
        DateTimeOffset now = _time.GetLocalNow();
        var line = new EventLine();
        line.Cell(now);
        line.Cell(id == default ? "" : id.ToString());
        if (arrival is { } received)
            line.Cell(TimeZoneInfo.ConvertTime(received, _time.LocalTimeZone));
        else
            line.Cell("");
        line.Cell(group);
        line.Cell(AddressOf(client));
        line.Cell(from);
        line.Cell(to);
        line.Cell(host);
        if (port > 0)
            line.Cell(port);
        else
            line.Cell("");
        line.Cell(reply);
        line.Cell(stage);
        line.Cell(size);
        line.Cell(messageId.Length == 0 ? "" : $"<{messageId}>");
        line.Raw("\r\n"u8);
        Add(line, now, access: true);
    }

    /// <summary>"192.0.2.1:40112" without its port.</summary>
    private static string AddressOf(string client) =>
        System.Net.IPEndPoint.TryParse(client, out System.Net.IPEndPoint? endPoint) ? endPoint.Address.ToString() : client;

    /// <summary>Every line begins with its time and its id, each in its place: "mfrelay trace" finds them without parsing.</summary>
    private EventLine Begin(QueueId id, ReadOnlySpan<byte> what, out DateTimeOffset now)
    {
        now = _time.GetLocalNow();
        var line = new EventLine();
        line.Raw("{\"time\":\""u8);
        line.Time(now);
        line.Raw("\",\"id\":"u8);
        if (id == default)
        {
            line.Raw("null"u8);
        }
        else
        {
            line.Raw("\""u8);
            line.Id(id);
            line.Raw("\""u8);
        }
        line.Raw(",\"event\":\""u8);
        line.Raw(what);
        line.Raw("\""u8);
        return line;
    }

    private void End(EventLine line, DateTimeOffset now)
    {
        line.Raw("}\n"u8);
        Add(line, now, access: false);
    }

    /// <summary>Ends a line, and has it once more for each other recipient.</summary>
    /// <param name="before">Octets of it before its field "to".</param>
    /// <param name="after">Octets of it through that field.</param>
    private void End(EventLine line, DateTimeOffset now, IReadOnlyList<string> to, int before, int after)
    {
        line.Raw("}\n"u8);
        if (to.Count == 1)
        {
            Add(line, now, access: false);
            return;
        }
        ReadOnlySpan<byte> first = line.Bytes.AsSpan(0, line.Length);
        int room = first.Length + (first.Length / 4); // the others may be longer
        EventLine lines = default;
        int count = 0;
        for (int i = 0; i < to.Count; i++, count++)
        {
            if (count > 0 && lines.Length + room > EventLine.MaxPooled)
            {
                Add(lines, now, access: false, count);
                count = 0;
            }
            if (count == 0)
                lines = new EventLine(Math.Min((to.Count - i) * room, EventLine.MaxPooled));
            lines.Raw(first[..before]);
            lines.Field("to"u8, to[i]);
            lines.Raw(first[after..]);
        }
        Add(lines, now, access: false, count);
        EventLine.Pool.Return(line.Bytes);
    }

    private void Add(EventLine line, DateTimeOffset now, bool access, int count = 1)
    {
        if (Interlocked.Add(ref _waiting, line.Length) > MostWaiting)
        {
            Interlocked.Add(ref _waiting, -line.Length);
            Interlocked.Add(ref _dropped, count);
            EventLine.Pool.Return(line.Bytes);
            return;
        }
        _intake.TryAdd(new Line(line.Bytes, line.Length, DateOnly.FromDateTime(now.DateTime), access, count));
    }

    private void Run()
    {
        var batch = new List<Line>();
        for (bool stopping = false; !stopping;)
        {
            _intake.Wait();
            if (_today != default)
                _ending.WaitOne(Linger);
            batch = _intake.Take(batch, out stopping);
            _trace.Lost += Interlocked.Exchange(ref _dropped, 0);
            foreach (Line line in batch)
            {
                (line.Access ? _access : _trace).Add(line.Bytes.AsSpan(0, line.Length), line.Day, line.Count);
                Interlocked.Add(ref _waiting, -line.Length);
                EventLine.Pool.Return(line.Bytes);
            }
            batch.Clear();
            Turn();
            _trace.Flush();
            _access.Flush();
        }
    }

    /// <summary>At the start and when a day begins, also one on which nothing happens.</summary>
    private void Turn()
    {
        DateTimeOffset now = _time.GetLocalNow();
        var today = DateOnly.FromDateTime(now.DateTime);
        if (today > _today)
        {
            _today = today;
            if (HasTrace)
                _trace.Begin(today);
            if (HasAccess)
                _access.Begin(today);
        }
        _midnight.Change(TimeSpan.FromDays(1) - now.TimeOfDay + TimeSpan.FromSeconds(1), Timeout.InfiniteTimeSpan);
    }

    private string Folder() => _settings.LogDirectory;

    /// <summary>More than what MAIL asks for (min_free_space): the log of mail is no reason to refuse mail.</summary>
    private long Leave() => 2 * _settings.Server.MinFreeSpace;

    /// <param name="Bytes">Of the pool.</param>
    /// <param name="Day">Of the event, in local time.</param>
    /// <param name="Count">How many lines these are.</param>
    private readonly record struct Line(byte[] Bytes, int Length, DateOnly Day, bool Access, int Count);
}
