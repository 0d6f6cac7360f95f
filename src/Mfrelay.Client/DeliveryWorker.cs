using MailKit.Net.Smtp;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>One session to one mail server, used for one attempt after the other.</summary>
internal sealed class DeliveryWorker(MailServerQueue queue, SessionSettings settings, QueueRunner runner)
{
    private readonly MailServer _server = queue.Server;
    private readonly SessionOpener _opener = new(settings);
    private OutboundSession? _session;

    /// <summary>Whom the session is with: with host = "mx" the one of the domain's mail servers that was tried last.</summary>
    private MailServer? _peer;

    /// <summary>What it announced, also when the session is over by now.</summary>
    private SmtpCapabilities _announced;

    /// <summary>Its envelope went with the mail data of the one before.</summary>
    private Opened? _next;

    /// <summary>What has to be attempted next: it has begun already.</summary>
    public Delivery? Next => _next?.Delivery;

    /// <summary>One attempt: message and mail server to a result for each recipient, settled and logged.</summary>
    public async Task AttemptAsync(Delivery delivery)
    {
        if (delivery.Size > IncomingMessage.MemoryLimit)
            await Task.Yield(); // all of it is read once to be checked: not in the thread of the sockets
        Opened? opened = ReferenceEquals(_next?.Delivery, delivery) ? _next : Open(delivery);
        _next = null;
        if (opened is null)
            return;
        using SpooledMessage message = opened.Message;
        long began = runner.Time.GetTimestamp();
        var outcomes = new Outcome[delivery.Recipients.Count];
        if (opened.IsLoop)
            outcomes.AsSpan().Fill(Outcome.Of(Stage.Connect, Failure.Loop));
        else
            await SendAsync(opened, outcomes);
        await runner.FinishAsync(new Attempt(delivery, message, _server, outcomes, runner.Time.GetElapsedTime(began))
        {
            Peer = _peer ?? _server,
            NextHopHasDsn = _announced.HasFlag(SmtpCapabilities.Dsn),
            SentEightBit = message.EightBit && !_announced.HasFlag(SmtpCapabilities.EightBitMime)
                && Array.Exists(outcomes, outcome => outcome is { Reply.Class: 2 }),
        });
    }

    public async Task CloseAsync()
    {
        if (_session is not null)
            await _session.QuitAsync(runner.Aborting);
        _session = null;
        GiveBackNext();
    }

    /// <summary>Null when it is not to be tried now.</summary>
    private Opened? Open(Delivery delivery)
    {
        if (!runner.MayBegin(delivery))
            return null;
        if (runner.Reader.Open(delivery, out string? damage) is not { } message)
        {
            runner.SetAside(delivery, damage!);
            return null;
        }
        try
        {
            return new Opened(delivery, message, TraceFields.Received(message) > runner.Settings.Client.MaxReceived);
        }
        catch
        {
            message.Dispose();
            throw;
        }
    }

    /// <summary>While the last of a message is about to be sent on the session: the transaction after it.</summary>
    private Transaction? TakeAhead()
    {
        if (settings.MessagesPerSession > 0 && _session!.Transactions >= settings.MessagesPerSession)
            return null;
        if (_next is not null || queue.TakeAhead() is not { } delivery)
            return null;
        try
        {
            _next = Open(delivery);
            if (_next is null or { IsLoop: true })
                return null;
            return _next.Transaction = new Transaction(_session!, _next.Message, delivery.Recipients);
        }
        catch (Exception e)
        {
            // The message that is being sent has no part in it.
            runner.Log.Unexpected($"worker {_server.Address}", e);
            _next?.Message.Dispose();
            _next = null;
            runner.PutBack(delivery);
            return null;
        }
    }

    /// <summary>The session is over, or could not begin with it: it waits with the others, also when the host has failed.</summary>
    private void GiveBackNext()
    {
        if (_next is not { } next)
            return;
        _next = null;
        next.Message.Dispose();
        queue.GiveBack(next.Delivery);
    }

    private async Task SendAsync(Opened opened, Outcome[] outcomes)
    {
        (SpooledMessage message, IReadOnlyList<OpenRecipient> recipients) = (opened.Message, opened.Delivery.Recipients);
        int most = settings.MaxRecipientsPerTransaction;
        for (int first = 0; first < recipients.Count; first += most)
        {
            IReadOnlyList<OpenRecipient> some = recipients.Count <= most ? recipients : [.. recipients.Skip(first).Take(most)];
            IReadOnlyList<Outcome> ended = await SendSomeAsync(message, some, opened.Transaction, isLast: first + most >= recipients.Count);
            for (int i = 0; i < ended.Count; i++)
                outcomes[first + i] = ended[i];
            if (ReplyClassifier.Classify(ended[0]).Scope != Scope.Host)
                continue;
            // The host failed: no use in asking it about the others now.
            for (int i = first + ended.Count; i < outcomes.Length; i++)
                outcomes[i] = ended[0] with { Uncertain = false };
            return;
        }
    }

    /// <param name="ahead">Its transaction, when that has begun on the session.</param>
    private async Task<IReadOnlyList<Outcome>> SendSomeAsync(
        SpooledMessage message, IReadOnlyList<OpenRecipient> recipients, Transaction? ahead, bool isLast)
    {
        bool reused = ahead is not null || await ReuseAsync();
        while (true)
        {
            if (_session is null)
            {
                (Opening opening, _peer) = await runner.OpenAsync(_opener, _server, runner.Aborting);
                if (opening.Session is null)
                    return [.. Enumerable.Repeat(opening.Outcome, recipients.Count)];
                _session = opening.Session;
                _announced = _session.Capabilities;
            }
            _session.Next = isLast ? TakeAhead : null;
            TransactionResult result = await _session.SendAsync(ahead ?? new Transaction(_session, message, recipients), runner.Aborting);
            if (!result.SessionUsable)
            {
                _session.Dispose();
                _session = null;
            }
            if (_session is null || _next?.Transaction is not { IsAhead: true })
                GiveBackNext();
            bool dropped = ahead is not null && IsDropped(result.Outcomes[0]);
            if (!dropped && !(reused && IsStale(result.Outcomes[0], ahead is not null)))
                return result.Outcomes;
            queue.NothingAhead |= dropped;
            (reused, ahead) = (false, null);
        }
    }

    /// <summary>
    /// A kept session may have been closed by the other side while it was idle, or may be over after so many messages: that says nothing about the
    /// host. The same before any mail data of a transaction that had begun before we came to it.
    /// </summary>
    private static bool IsStale(Outcome outcome, bool ahead) =>
        outcome is { Uncertain: false } and ({ Failure: Failure.Closed } or { Reply.Code: 421 })
        && (outcome.Stage == Stage.Mail || (ahead && outcome.Stage is Stage.Rcpt or Stage.Data));

    /// <summary>Nor does it say anything about the host that it dropped what came behind a final dot, against RFC 2920 3.2, or answered that twice.</summary>
    private static bool IsDropped(Outcome outcome) =>
        outcome is { Stage: Stage.Mail, Failure: Failure.TimedOut } or { Stage: Stage.Mail or Stage.Rcpt or Stage.Data, Failure: Failure.Garbage };

    /// <summary>True when there is an open session that can take another transaction.</summary>
    private async Task<bool> ReuseAsync()
    {
        int limit = settings.MessagesPerSession;
        if (_session is not null && (!_session.IsUsable() || (limit > 0 && _session.Transactions >= limit)))
            await CloseAsync();
        return _session is not null;
    }

    /// <summary>A message in hand.</summary>
    /// <param name="IsLoop">It has too many Received fields to be sent on.</param>
    private sealed record Opened(Delivery Delivery, SpooledMessage Message, bool IsLoop)
    {
        /// <summary>When it has begun on the session, behind the one before it.</summary>
        public Transaction? Transaction { get; set; }
    }
}

/// <summary>An attempt that has ended.</summary>
/// <param name="Outcomes">One for each recipient of the delivery, in its order.</param>
internal sealed record Attempt(Delivery Delivery, SpooledMessage Message, MailServer Server, Outcome[] Outcomes, TimeSpan Duration)
{
    /// <summary>For log and bounce: what <see cref="Server"/> was at this attempt, with host = "mx" one of many.</summary>
    public required MailServer Peer { get; init; }

    /// <summary>The mail server says DSN (RFC 3461): the wishes of the sender were passed on to it.</summary>
    public bool NextHopHasDsn { get; init; }

    /// <summary>It took 8-bit mail data without having said 8BITMIME.</summary>
    public bool SentEightBit { get; init; }
}
