using MailKit.Net.Smtp;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>One session to one mail server, used for one attempt after the other.</summary>
internal sealed class DeliveryWorker(MailServer server, SessionSettings settings, QueueRunner runner)
{
    private readonly SessionOpener _opener = new(settings);
    private OutboundSession? _session;

    /// <summary>Whom the session is with: with host = "mx" the one of the domain's mail servers that was tried last.</summary>
    private MailServer? _peer;

    /// <summary>What it announced, also when the session is over by now.</summary>
    private SmtpCapabilities _announced;

    /// <summary>One attempt: message and mail server to a result for each recipient, settled and logged.</summary>
    public async Task AttemptAsync(Delivery delivery)
    {
        if (!runner.MayBegin(delivery))
            return;
        using SpooledMessage? message = runner.Reader.Open(delivery, out string? damage);
        if (message is null)
        {
            runner.SetAside(delivery, damage!);
            return;
        }
        long began = runner.Time.GetTimestamp();
        var outcomes = new Outcome[delivery.Recipients.Count];
        if (TraceFields.Received(message) > runner.Settings.Client.MaxReceived)
            outcomes.AsSpan().Fill(Outcome.Of(Stage.Connect, Failure.Loop));
        else
            await SendAsync(message, delivery.Recipients, outcomes);
        await runner.FinishAsync(new Attempt(delivery, message, server, outcomes, runner.Time.GetElapsedTime(began))
        {
            Peer = _peer ?? server,
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
    }

    private async Task SendAsync(SpooledMessage message, IReadOnlyList<OpenRecipient> recipients, Outcome[] outcomes)
    {
        int most = settings.MaxRecipientsPerTransaction;
        for (int first = 0; first < recipients.Count; first += most)
        {
            IReadOnlyList<OpenRecipient> some = recipients.Count <= most ? recipients : [.. recipients.Skip(first).Take(most)];
            IReadOnlyList<Outcome> ended = await SendSomeAsync(message, some);
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

    private async Task<IReadOnlyList<Outcome>> SendSomeAsync(SpooledMessage message, IReadOnlyList<OpenRecipient> recipients)
    {
        bool reused = await ReuseAsync();
        while (true)
        {
            if (_session is null)
            {
                (Opening opening, _peer) = await runner.OpenAsync(_opener, server, runner.Aborting);
                if (opening.Session is null)
                    return [.. Enumerable.Repeat(opening.Outcome, recipients.Count)];
                _session = opening.Session;
                _announced = _session.Capabilities;
            }
            TransactionResult result = await _session.SendAsync(message, recipients, runner.Aborting);
            if (!result.SessionUsable)
            {
                _session.Dispose();
                _session = null;
            }
            // A kept session may have been closed by the other side while it was idle, or may be over after so many messages: that says nothing
            // about the host.
            bool stale = reused && result.Outcomes[0] is { Stage: Stage.Mail, Uncertain: false } and ({ Failure: Failure.Closed } or { Reply.Code: 421 });
            if (!stale)
                return result.Outcomes;
            reused = false;
        }
    }

    /// <summary>True when there is an open session that can take another transaction.</summary>
    private async Task<bool> ReuseAsync()
    {
        int limit = settings.MessagesPerSession;
        if (_session is not null && (!_session.IsUsable() || (limit > 0 && _session.Transactions >= limit)))
            await CloseAsync();
        return _session is not null;
    }
}

/// <summary>An attempt that has ended.</summary>
/// <param name="Outcomes">One for each recipient of the delivery, in its order.</param>
internal sealed record Attempt(Delivery Delivery, SpooledMessage Message, MailServer Server, IReadOnlyList<Outcome> Outcomes, TimeSpan Duration)
{
    /// <summary>For log and bounce: what <see cref="Server"/> was at this attempt, with host = "mx" one of many.</summary>
    public required MailServer Peer { get; init; }

    /// <summary>The mail server says DSN (RFC 3461): the wishes of the sender were passed on to it.</summary>
    public bool NextHopHasDsn { get; init; }

    /// <summary>It took 8-bit mail data without having said 8BITMIME.</summary>
    public bool SentEightBit { get; init; }
}
