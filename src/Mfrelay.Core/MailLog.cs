using System.Globalization;
using System.Text;
using NLog;
using NLog.Config;
using NLog.Targets;
using NLog.Targets.Wrappers;

namespace Mfrelay.Core;

/// <summary>
/// Every line that an operator sees comes from a method here, and each method writes one entry of <see cref="LogEvents"/>.
/// NLog carries it: to the journal with a field for each value when it reads our output, to the console with a time otherwise.
/// </summary>
public sealed class MailLog : IDisposable
{
    /// <summary>Lines of one entry, so that a queue of entries bounds lines as well.</summary>
    private const int MostTogether = 16;

    /// <summary>Where, among the values of a line about a recipient, its address is.</summary>
    private const int To = 2;

    private readonly LogFactory _factory;
    private readonly Logger _logger;
    private JournalTarget? _journal;
    private volatile Language _language;

    private MailLog(LogFactory factory, Language language)
    {
        _factory = factory;
        _logger = factory.GetLogger("mfrelay");
        _language = language;
    }

    /// <summary>Lines that did not reach the journal.</summary>
    public long Lost => _journal?.Lost ?? 0;

    /// <summary>The log of a daemon: the journal where there is one.</summary>
    /// <param name="limit">Most lines of information that go to the journal in 30 s.</param>
    public static MailLog Open(string name, Language language, int limit) =>
        JournalTarget.IsThere() ? ToJournal(JournalTarget.SocketPath, name, language, limit, TimeProvider.System) : ToConsole(language);

    /// <summary>A log to the journal at a socket. Who logs never waits: what the queue has no room for is counted.</summary>
    internal static MailLog ToJournal(string path, string name, Language language, int limit, TimeProvider time)
    {
        var factory = new LogFactory();
        var log = new MailLog(factory, language);
        log._journal = new JournalTarget(path, name, limit, () => log.Language, time);
        Attach(factory, log._journal, AsyncTargetWrapperOverflowAction.Discard).LogEventDropped +=
            (_, dropped) => log._journal.CountLost(dropped.DroppedLogEventInfo is MailLogEntry entry ? entry.Lines.Count : 1);
        return log;
    }

    /// <summary>Changed by a reload of the config.</summary>
    public Language Language
    {
        get => _language;
        set => _language = value;
    }

    /// <summary>A log to standard output. Lines are written by a thread of NLog's, in order, many with one call.</summary>
    public static MailLog ToConsole(Language language) =>
        // JOURNAL_STREAM: systemd connected our output to the journal.
        ToOutput(Console.OpenStandardOutput(), withPriority: Environment.GetEnvironmentVariable("JOURNAL_STREAM") is not null, language);

    internal static MailLog ToOutput(Stream output, bool withPriority, Language language)
    {
        var factory = new LogFactory();
        Attach(factory, new OutputTarget(output, withPriority), AsyncTargetWrapperOverflowAction.Block);
        return new MailLog(factory, language);
    }

    /// <summary>Puts a queue in front of a target, and a thread of NLog's between them.</summary>
    private static BatchingQueue Attach(LogFactory factory, Target target, AsyncTargetWrapperOverflowAction whenFull)
    {
        var queue = new BatchingQueue(target, whenFull);
        var config = new LoggingConfiguration(factory);
        config.AddRule(NLog.LogLevel.Info, NLog.LogLevel.Fatal, queue);
        factory.Configuration = config;
        return queue;
    }

    /// <summary>A log that hands each line to an action at once: for whoever shows lines in another way.</summary>
    public static MailLog ToAction(Language language, Action<LogEvent, string> line) => new(new LogFactory(), language) { Line = line };

    private Action<LogEvent, string>? Line { get; init; }

    /// <summary>The life of each message in files, if that is kept. Ends with this.</summary>
    public EventLog? Events { get; set; }

    public void Started(string what) => Write(LogEvents.Started, what);
    public void Stopped(string what) => Write(LogEvents.Stopped, what);
    public void Listening(string address) => Write(LogEvents.Listening, address);
    public void SocketUnused(string socket) => Write(LogEvents.SocketUnused, socket);
    public void DatabaseBroken(string file, string aside, string reason) => Write(LogEvents.DatabaseBroken, file, aside, reason);
    public void TableRebuilt(string file, int count) => Write(LogEvents.TableRebuilt, file, count);
    public void TableCaughtUp(string file, int count) => Write(LogEvents.TableCaughtUp, file, count);
    public void SpoolDamaged(string file, long offset, long length, string reason, string aside) =>
        Write(LogEvents.SpoolDamaged, file, offset, length, reason, aside);
    public void StoreHasNoRoom(string file, string reason) => Write(LogEvents.StoreHasNoRoom, file, reason);
    public void SpoolNotWritten(string directory, string reason) => Write(LogEvents.SpoolNotWritten, directory, reason);
    public void EventLogFailed(string file, string reason) => Write(LogEvents.EventLogFailed, file, reason);
    public void EventLogWorks(string file, long lost) => Write(LogEvents.EventLogWorks, file, lost);
    public void Unexpected(string where, Exception e) => Write(LogEvents.Unexpected, where, e);

    public void Reloaded(string file, string what) => Write(LogEvents.Reloaded, file, what);
    public void ReloadRefused(ConfigError error) => Write(LogEvents.ReloadRefused, error);
    public void NeedsRestart(string keys) => Write(LogEvents.NeedsRestart, keys);

    /// <summary>The lines that a state machine asked for.</summary>
    public void Health(HealthChange change)
    {
        foreach (LogEvent line in change.Lines)
            Write(line, change.Health.Address, change.Health.Domain);
    }

    public void AlertRaised(Alert alert) => Write(LogEvents.AlertRaised, alert.RuleName, alert.Subject, alert.Value);
    public void AlertCleared(Alert alert) => Write(LogEvents.AlertCleared, alert.RuleName, alert.Subject);
    public void AlertHookFailed(string program, string reason) => Write(LogEvents.AlertHookFailed, program, reason);
    public void AlertWebhookFailed(string url, string reason) => Write(LogEvents.AlertWebhookFailed, url, reason);
    public void MetricsServed(string address) => Write(LogEvents.MetricsServed, address);
    public void MetricsNotServed(string address, string reason) => Write(LogEvents.MetricsNotServed, address, reason);
    public void Drained(Drain drain) => Write(LogEvents.Drained, drain.Key, drain.Reason);
    public void Undrained(Drain drain) => Write(LogEvents.Undrained, drain.Key);

    public void CommunicationTimedOut(Delivery delivery, MailServer server) =>
        Write(LogEvents.CommunicationTimedOut, delivery.Id, server.Host, server.Port);

    public void Accepted(Envelope envelope, in Reception reception)
    {
        Write(LogEvents.Accepted, envelope.Id, envelope.ReversePath, envelope.Recipients[0].ForwardPath, envelope.Recipients.Count, reception.Size,
            envelope.ClientAddress, envelope.HeloName, envelope.Protocol, Seconds(reception.Delay));
        Events?.Accepted(envelope, reception);
    }

    /// <param name="to">Whom it was for, as far as that is known.</param>
    /// <param name="id">0 before mail data.</param>
    public void Refused(string client, string from, IReadOnlyList<Recipient> to, string stage, string reply, QueueId id = default,
        string messageId = "", long size = 0)
    {
        Write(LogEvents.Refused, client, from, to.Count == 0 ? "" : to[0].ForwardPath, stage, reply);
        Events?.Refused(id, client, from, to, stage, reply, messageId, size);
    }

    public void SessionLost(string client, string from, IReadOnlyList<Recipient> to, string stage, string reason)
    {
        Write(LogEvents.SessionLost, client, from, stage, reason);
        Events?.Lost(client, from, to, stage, reason);
    }

    public void Authenticated(string client, string user, string mechanism) => Write(LogEvents.Authenticated, client, user, mechanism);
    public void AuthFailed(string client, string user, string mechanism) => Write(LogEvents.AuthFailed, client, user, mechanism);
    public void LimitReached(string limit, string client) => Write(LogEvents.LimitReached, limit, client);
    public void TlsFailed(string client, string reason) => Write(LogEvents.TlsFailed, client, reason);
    public void PlaintextDropped(string client, long octets) => Write(LogEvents.PlaintextDropped, client, octets);
    public void ProxyRefused(string client, string reason) => Write(LogEvents.ProxyRefused, client, reason);
    public void CertificateLoaded(string file, DateTimeOffset until) => Write(LogEvents.CertificateLoaded, file, Time(until));
    public void CertificateBad(string file, string reason) => Write(LogEvents.CertificateBad, file, reason);
    public void UsersBad(string file, string reason) => Write(LogEvents.UsersBad, file, reason);
    public void ConfigWarning(ConfigError warning) => Write(LogEvents.ConfigWarning, warning);

    public void AttemptEnded(Delivery delivery, MailServer server, int delivered, int deferred, int failed, TimeSpan delay, TimeSpan duration) =>
        Write(LogEvents.AttemptEnded, delivery.Id, delivery.ReversePath, server.Host, server.Port, delivered, deferred, failed,
            delivery.Size, Seconds(delay), Seconds(duration));

    public void Delivered(in RecipientResult result)
    {
        Delivery delivery = result.Delivery;
        Write(result.To, LogEvents.Delivered, delivery.Id, delivery.ReversePath, result.To[0], result.Server!.Host, result.Server.Port, delivery.Size,
            Seconds(result.Delay), result.Text);
        Events?.Result(result, "delivered"u8, isEnd: true);
    }

    /// <param name="uncertain">The mail server may have it all the same.</param>
    public void Deferred(in RecipientResult result, DateTimeOffset next, bool uncertain)
    {
        Delivery delivery = result.Delivery;
        Write(result.To, LogEvents.Deferred, delivery.Id, delivery.ReversePath, result.To[0], result.Server!.Host, result.Server.Port, delivery.Size,
            Seconds(result.Delay), Time(next), result.Text);
        Events?.Result(result, uncertain ? "uncertain"u8 : "deferred"u8, isEnd: false, next);
    }

    /// <param name="expired">Not for what a mail server said, but for its lifetime.</param>
    public void Failed(in RecipientResult result, string status, bool expired)
    {
        Delivery delivery = result.Delivery;
        Write(result.To, LogEvents.Failed, delivery.Id, delivery.ReversePath, result.To[0], result.Server?.Host ?? "-", result.Server?.Port ?? 0, delivery.Size,
            Seconds(result.Delay), status, result.Text);
        Events?.Result(result, expired ? "expired"u8 : "failed"u8, isEnd: true, status: status);
    }

    public void NoticeQueued(QueueId id, QueueId notice, string to, int count, string kind)
    {
        Write(LogEvents.NoticeQueued, id, notice, to, count, kind);
        Events?.Notice(id, notice, to, kind);
    }

    public void BounceDropped(QueueId id, string to, string status, string reply)
    {
        Write(LogEvents.BounceDropped, id, to, status, reply);
        Events?.Other(id, "dropped"u8, "", [to], reply);
    }

    public void NoticeFailed(QueueId id, string reason)
    {
        Write(LogEvents.NoticeFailed, id, reason);
        Events?.Other(id, "notice_failed"u8, "", [], reason);
    }
    public void SentEightBit(Delivery delivery, MailServer server) => Write(LogEvents.SentEightBit, delivery.Id, server.Host, server.Port);

    public void Uncertain(Delivery delivery, MailServer server, string reason) =>
        Write(LogEvents.Uncertain, delivery.Id, delivery.ReversePath, server.Host, server.Port, reason);

    public void Unreadable(Delivery delivery, string reason)
    {
        Write(LogEvents.Unreadable, delivery.Id, delivery.Position, reason);
        Event(delivery, "unreadable"u8, reason);
    }

    public void JournalFailed(Delivery delivery, string reason) => Write(LogEvents.JournalFailed, delivery.Id, reason);
    public void ClockJumped(TimeSpan by) => Write(LogEvents.ClockJumped, Seconds(by));

    public void NoRoute(Delivery delivery)
    {
        Write(LogEvents.NoRoute, delivery.Id, delivery.Route);
        Event(delivery, "no_route"u8, delivery.Route);
    }

    /// <summary>An operator, or a new config, has put this row in the place of another. No line: the command has said so already.</summary>
    public void Changed(Delivery row) => Event(row, row.Order switch
    {
        Order.Flush => "flush"u8,
        Order.Bounce => "bounce"u8,
        Order.Delete => "delete"u8,
        Order.None => row.Hold ? "hold"u8 : "requeue"u8,
    }, row.Order == Order.None && !row.Hold ? row.Route : "");

    private void Event(Delivery delivery, ReadOnlySpan<byte> what, string reason) =>
        Events?.Other(delivery.Id, what, delivery.ReversePath, delivery.Recipients.Select(recipient => recipient.ForwardPath), reason);

    /// <summary>Writes what is still on its way.</summary>
    public void Dispose()
    {
        Events?.Dispose();
        _factory.Flush(TimeSpan.FromSeconds(5));
        _factory.Dispose();
    }

    private void Write(LogEvent what, params ReadOnlySpan<object?> values) =>
        Write(what, [new MailLogLine(what.Format(_language, values), Kept(values))]);

    /// <summary>A line for each recipient; nothing else in them differs.</summary>
    private void Write(IReadOnlyList<string> to, LogEvent what, params ReadOnlySpan<object?> values)
    {
        if (to.Count == 1)
        {
            Write(what, values);
            return;
        }
        (string before, string after) = what.FormatAround(_language, values, To);
        for (int first = 0; first < to.Count; first += MostTogether)
        {
            var lines = new MailLogLine[Math.Min(MostTogether, to.Count - first)];
            for (int i = 0; i < lines.Length; i++)
            {
                lines[i] = new MailLogLine(string.Concat(before, LogEvent.OneLine(to[first + i]), after), Kept(values));
                if (lines[i].Values.Length > 0)
                    lines[i].Values[To] = to[first + i];
            }
            Write(what, lines);
        }
    }

    private void Write(LogEvent what, MailLogLine[] lines)
    {
        if (Line is not null)
        {
            foreach (MailLogLine line in lines)
                Line(what, line.Text);
            return;
        }
        NLog.LogLevel level = what.Grade switch
        {
            LogGrade.Info => NLog.LogLevel.Info,
            LogGrade.Warning => NLog.LogLevel.Warn,
            LogGrade.Error => NLog.LogLevel.Error,
        };
        _logger.Log(new MailLogEntry(what, level, lines));
    }

    /// <summary>Only the journal has a field for each value.</summary>
    private object?[] Kept(ReadOnlySpan<object?> values) => _journal is null ? [] : values.ToArray();

    private static string Seconds(TimeSpan span)
    {
        Span<byte> text = stackalloc byte[EventLine.MaxSeconds];
        return Encoding.ASCII.GetString(text[..EventLine.WriteSeconds(span, text)]);
    }

    private static string Time(DateTimeOffset time) => time.ToLocalTime().ToString("yyyy-MM-ddTHH:mm:sszzz", CultureInfo.InvariantCulture);
}
