namespace Mfrelay.Core;

/// <summary>
/// What MAIL and RCPT said, with where it came from: one per message, fixed once the message is accepted (RFC 5321 2.3.1).
/// Routing looks at nothing else (B3).
/// </summary>
public sealed record Envelope
{
    public required QueueId Id { get; init; }

    /// <summary>When mail data was complete.</summary>
    public required DateTimeOffset Arrival { get; init; }

    /// <summary>The argument of MAIL FROM without brackets; empty for the null reverse-path of a bounce.</summary>
    public required string ReversePath { get; init; }

    public required IReadOnlyList<Recipient> Recipients { get; init; }

    /// <summary>BODY= (RFC 6152, 3030).</summary>
    public BodyType Body { get; init; } = BodyType.SevenBit;

    /// <summary>The sender said SMTPUTF8 (RFC 6531 3.4).</summary>
    public bool SmtpUtf8 { get; init; }

    /// <summary>RET= (RFC 3461 4.3).</summary>
    public DsnReturn Return { get; init; } = DsnReturn.Unspecified;

    /// <summary>ENVID= as sent, still xtext (RFC 3461 4.4); null when absent.</summary>
    public string? EnvelopeId { get; init; }

    /// <summary>Address and port of the SMTP client.</summary>
    public required string ClientAddress { get; init; }

    /// <summary>What the client called itself in EHLO or HELO.</summary>
    public required string HeloName { get; init; }

    /// <summary>"ESMTP", "ESMTPS", "UTF8SMTP" ...: the with clause of the Received: field (RFC 3848, 6531 4.3).</summary>
    public required string Protocol { get; init; }
}

/// <summary>One forward-path, with the DSN wishes of its RCPT (RFC 3461 4.1, 4.2).</summary>
/// <param name="ForwardPath">The argument of RCPT TO without brackets; a quoted local part keeps its quotes.</param>
/// <param name="Notify">NOTIFY=.</param>
/// <param name="OriginalRecipient">ORCPT= as sent ("rfc822;user+2Bx@example.com"); null when absent.</param>
public sealed record Recipient(string ForwardPath, DsnNotify Notify = DsnNotify.Unspecified, string? OriginalRecipient = null);

/// <summary>BODY= parameter. The numbers are on disk.</summary>
public enum BodyType
{
    SevenBit = 0,
    EightBitMime = 1,
    BinaryMime = 2,
}

/// <summary>RET= parameter. The numbers are on disk.</summary>
public enum DsnReturn
{
    Unspecified = 0,
    Full = 1,
    Headers = 2,
}

/// <summary>NOTIFY= parameter. The numbers are on disk.</summary>
[Flags]
public enum DsnNotify
{
    Unspecified = 0,
    Never = 1,
    Success = 2,
    Failure = 4,
    Delay = 8,
}
