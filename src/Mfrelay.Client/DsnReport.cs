using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>What has become of a recipient, as a report says it (RFC 3464 2.3.3).</summary>
internal enum DsnAction
{
    /// <summary>Given up.</summary>
    Failed,

    /// <summary>Not delivered yet, and still tried.</summary>
    Delayed,

    /// <summary>Handed to a mail server that sends no reports itself (RFC 3461 5.2.2).</summary>
    Relayed,
}

/// <summary>What a report says of one recipient.</summary>
/// <param name="Status">Of the class that fits the action: 5 or 4, 4, 2.</param>
/// <param name="Outcome">What the last attempt ended with; open when there was none.</param>
/// <param name="Server">The mail server of the last attempt; null when there was none.</param>
/// <param name="WillRetryUntil">For a delay: when it is given up.</param>
internal sealed record DsnRecipient(
    Recipient Recipient,
    DsnAction Action,
    EnhancedStatus Status,
    Outcome Outcome,
    MailServer? Server,
    DateTimeOffset LastAttempt,
    DateTimeOffset? WillRetryUntil = null)
{
    /// <summary>For people: the mail server's reply, or what we make of there being none.</summary>
    public string Said => Outcome.Reply is { } reply ? reply.ToString() : Outcome.IsOpen ? Status.ToString() : Outcome.ToString();

    /// <summary>The lifetime has passed (RFC 3463 X.4.7).</summary>
    public bool IsExpired => Action == DsnAction.Failed && Status is { Subject: 4, Detail: 7 };
}

/// <summary>How reports are written.</summary>
/// <param name="HostName">Of this relay: in From, Reporting-MTA and Message-ID.</param>
/// <param name="ReturnLimit">Octets of mail data up to which a message is returned whole; of a larger one, its header alone.</param>
internal sealed record DsnStyle(string HostName, Language Language, BounceFormat Format, long ReturnLimit)
{
    public static DsnStyle Of(Settings settings) =>
        new(settings.HostName, settings.Language, settings.Client.BounceFormat, settings.Client.BounceSizeLimit);
}

/// <summary>A report, ready for the queue.</summary>
/// <param name="Envelope">From the null reverse-path, to the original one, and never to be reported on itself (RFC 3461 6.1).</param>
internal sealed record DsnMail(Envelope Envelope, byte[] Data);
