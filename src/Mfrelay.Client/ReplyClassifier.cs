namespace Mfrelay.Client;

/// <summary>What an attempt means for a recipient.</summary>
internal enum Disposition
{
    /// <summary>The mail server has taken the responsibility (RFC 5321 6.1).</summary>
    Delivered,
    /// <summary>To be tried again.</summary>
    Deferred,
    /// <summary>Not to be tried again; the sender gets a bounce.</summary>
    Failed,
}

/// <summary>Whose fault it was, so what else it concerns.</summary>
internal enum Scope
{
    /// <summary>This recipient alone.</summary>
    Recipient,
    /// <summary>Every recipient of this message at this mail server.</summary>
    Message,
    /// <summary>Everything for this mail server: it belongs on the check list.</summary>
    Host,
}

/// <param name="Status">The enhanced status for queue table and bounce: the mail server's own, or ours where it gave none (RFC 3463).</param>
/// <param name="CountsAsAttempt">
/// The message itself had its try, so its retry interval begins. Not when the session could not be opened: that is about the mail server, and says
/// nothing about any message queued for it. From MAIL on it counts even where the scope is the host, else a message that breaks a mail server, or one
/// whose final reply is always lost, would be sent again as often as that mail server comes back.
/// </param>
internal readonly record struct Verdict(Disposition Disposition, Scope Scope, EnhancedStatus Status, bool CountsAsAttempt);

/// <summary>
/// The whole failure policy: from (stage, reply or failure) to (disposition, scope).
/// <code>
///                          2yz         4yz                 5yz                 421, no reply, no SMTP
/// connect                  -           -                   -                   deferred  host
/// greeting to auth         -           deferred  host      deferred  host      deferred  host
/// mail, data               -           deferred  message   failed    message   deferred  host
/// rcpt                     -           deferred  recipient failed    recipient deferred  host
/// bdat, final dot          delivered   deferred  message   failed    message   deferred  host (uncertain when the data was out)
/// </code>
/// "-": no ending of an attempt; should it come, the dialog is out of step: deferred, host.
/// <list type="bullet">
/// <item>A 5yz to the connection or EHLO (554 "no SMTP service here", RFC 5321 3.1) refuses us, not the mail: what is queued waits for the operator.</item>
/// <item>Too many recipients: 452, or 552 from servers of RFC 821 (RFC 5321 4.5.3.1.10): deferred, whatever the enhanced status says about
/// permanence. A 552 with another one ("5.2.2 mailbox full") is what it says.</item>
/// <item>The first digit decides (RFC 5321 4.3.2, 4.2.1): codes unknown to us are treated as x00.</item>
/// <item>What was not tried at all, because it cannot be said to this next hop, has failed with a status of ours.</item>
/// </list>
/// </summary>
internal static class ReplyClassifier
{
    public static Verdict Classify(Outcome outcome)
    {
        (Disposition disposition, Scope scope, EnhancedStatus status) =
            outcome.Reply is { } reply ? OfReply(outcome.Stage, reply) : OfFailure(outcome.Stage, outcome.Failure);
        bool counts = (outcome.Stage >= Stage.Mail && outcome.Failure != Failure.Cancelled) || outcome.Uncertain || IsOfDns(outcome.Failure);
        return new Verdict(disposition, scope, status, counts);
    }

    /// <summary>Delivery time expired (RFC 3463 3.5), for good.</summary>
    public static EnhancedStatus Expired { get; } = new(5, 4, 7);

    private static (Disposition, Scope, EnhancedStatus) OfReply(Stage stage, Reply reply)
    {
        Scope scope = ScopeOf(stage);
        return (reply.Class, scope) switch
        {
            (4, _) when reply.Code == 421 => (Disposition.Deferred, Scope.Host, reply.Status ?? new(4, 3, 2)),
            (4 or 5, Scope.Host) => (Disposition.Deferred, Scope.Host, Temporary(reply.Status) ?? new(4, 3, 2)),
            (4 or 5, Scope.Recipient) when IsTooManyRecipients(reply) => (Disposition.Deferred, Scope.Recipient, new(4, 5, 3)),
            (4, _) => (Disposition.Deferred, scope, reply.Status ?? new(4, 0, 0)),
            (5, _) => (Disposition.Failed, scope, reply.Status ?? new(5, 0, 0)),
            (2, _) when stage is Stage.Bdat or Stage.FinalDot => (Disposition.Delivered, Scope.Recipient, reply.Status ?? new(2, 0, 0)),
            _ => (Disposition.Deferred, Scope.Host, new(4, 5, 0)),
        };
    }

    /// <summary>Known before there was a mail server to ask: nothing but its own retry interval makes the message wait.</summary>
    private static bool IsOfDns(Failure failure) =>
        failure is Failure.NoSuchDomain or Failure.NullMx or Failure.DnsFailed or Failure.MxLoop or Failure.NoMailServer;

    private static Scope ScopeOf(Stage stage) => stage switch
    {
        Stage.Connect or Stage.Greeting or Stage.Ehlo or Stage.Tls or Stage.Auth => Scope.Host,
        Stage.Rcpt => Scope.Recipient,
        Stage.Mail or Stage.Data or Stage.Bdat or Stage.FinalDot => Scope.Message,
    };

    private static (Disposition, Scope, EnhancedStatus) OfFailure(Stage stage, Failure failure) => failure switch
    {
        Failure.None => throw new ArgumentException("An outcome that is still open", nameof(failure)),
        Failure.Unreachable => (Disposition.Deferred, Scope.Host, new(4, 4, 1)),
        Failure.Closed => (Disposition.Deferred, Scope.Host, new(4, 4, 2)),
        Failure.TimedOut => (Disposition.Deferred, Scope.Host, stage == Stage.Connect ? new(4, 4, 1) : new(4, 4, 2)),
        Failure.Garbage or Failure.ReplyTooLong => (Disposition.Deferred, Scope.Host, new(4, 5, 0)),
        Failure.Cancelled => (Disposition.Deferred, Scope.Recipient, new(4, 3, 2)),
        Failure.UnsafeAddress => stage == Stage.Rcpt
            ? (Disposition.Failed, Scope.Recipient, new(5, 1, 3))
            : (Disposition.Failed, Scope.Message, new(5, 1, 7)),
        Failure.NeedsSmtpUtf8 => (Disposition.Failed, stage == Stage.Rcpt ? Scope.Recipient : Scope.Message, new(5, 6, 7)),
        Failure.TooLarge => (Disposition.Failed, Scope.Message, new(5, 3, 4)),
        Failure.NeedsEightBit => (Disposition.Failed, Scope.Message, new(5, 6, 3)),
        Failure.Loop => (Disposition.Failed, Scope.Message, new(5, 4, 6)),
        Failure.Expired => (Disposition.Failed, Scope.Message, Expired),
        Failure.Returned => (Disposition.Failed, Scope.Message, new(5, 0, 0)),
        Failure.TlsFailed => (Disposition.Deferred, Scope.Host, new(4, 7, 5)),
        Failure.AuthFailed => (Disposition.Deferred, Scope.Host, new(4, 7, 8)),
        // About the domain of the recipients, not about a mail server that could be checked.
        Failure.NoSuchDomain => (Disposition.Failed, Scope.Message, new(5, 1, 2)),
        Failure.NullMx => (Disposition.Failed, Scope.Message, new(5, 1, 10)),
        Failure.DnsFailed => (Disposition.Deferred, Scope.Message, new(4, 4, 3)),
        Failure.MxLoop => (Disposition.Failed, Scope.Message, new(5, 4, 6)),
        Failure.NoMailServer => (Disposition.Failed, Scope.Message, new(5, 4, 4)),
    };

    /// <summary>452 is "insufficient system storage" too: that as well is deferred, and no more than this recipient is known to be concerned.</summary>
    private static bool IsTooManyRecipients(Reply reply) =>
        reply.Code is 452 or 552 && (reply.Status is null or { Subject: 5, Detail: 3 });

    /// <summary>A status of class 5 must not stand beside "deferred" in a bounce or a warning (RFC 3464 2.3.4).</summary>
    private static EnhancedStatus? Temporary(EnhancedStatus? status) => status is { } known ? known with { Class = 4 } : null;
}
