namespace Mfrelay.Client;

/// <summary>How far the dialog with a mail server had come.</summary>
internal enum Stage
{
    Connect,
    Greeting,
    /// <summary>EHLO, and HELO when that was refused.</summary>
    Ehlo,
    /// <summary>STARTTLS and the handshake (RFC 3207); the handshake alone with implicit TLS.</summary>
    Tls,
    /// <summary>AUTH (RFC 4954).</summary>
    Auth,
    Mail,
    Rcpt,
    /// <summary>From the DATA command to the last octet before the final dot.</summary>
    Data,
    /// <summary>A BDAT chunk with its reply (RFC 3030).</summary>
    Bdat,
    /// <summary>The final dot is sent, its reply is due.</summary>
    FinalDot,
}

/// <summary>Why there is no reply.</summary>
internal enum Failure
{
    None,
    /// <summary>No address for the host name, connection refused, no route.</summary>
    Unreachable,
    /// <summary>The mail server closed or reset the connection.</summary>
    Closed,
    TimedOut,
    /// <summary>What came is not SMTP, or a reply to nothing that we said.</summary>
    Garbage,
    ReplyTooLong,
    /// <summary>We are stopping; says nothing about the mail server.</summary>
    Cancelled,
    /// <summary>Not tried: a control character in an address or a parameter would have ended the command.</summary>
    UnsafeAddress,
    /// <summary>Not tried: a non-ASCII address, and the next hop has no SMTPUTF8 (RFC 6531 3.1).</summary>
    NeedsSmtpUtf8,
    /// <summary>Not tried: larger than the SIZE that the next hop announced (RFC 1870 6.1).</summary>
    TooLarge,
    /// <summary>Not tried: 8-bit octets, and the next hop has no 8BITMIME (RFC 6152 3), with 8bit = "bounce".</summary>
    NeedsEightBit,
    /// <summary>Not tried: more Received fields than any true path has (RFC 5321 6.3).</summary>
    Loop,
    /// <summary>Not tried any more: the lifetime is over.</summary>
    Expired,
    /// <summary>Not tried any more: an operator sends it back.</summary>
    Returned,
    /// <summary>No TLS as the config wants it: not offered, no handshake, or a certificate that is not good enough.</summary>
    TlsFailed,
    /// <summary>Not logged in: the mail server does not offer our way to do so, its answer was wrong, or we have no secret.</summary>
    AuthFailed,
    /// <summary>The domain does not exist (NXDOMAIN).</summary>
    NoSuchDomain,
    /// <summary>The domain takes no mail: null MX (RFC 7505).</summary>
    NullMx,
    /// <summary>DNS gave no answer, or the answer that it has none now (SERVFAIL).</summary>
    DnsFailed,
    /// <summary>The MX records lead to ourselves (RFC 5321 5.1).</summary>
    MxLoop,
    /// <summary>The domain exists, and none of its mail servers has an address.</summary>
    NoMailServer,
}

/// <summary>What an attempt ended with, for one recipient or for a session that could not be opened: a reply, or why there is none.</summary>
/// <param name="Reply">Null exactly when <see cref="Failure"/> is not None.</param>
/// <param name="Uncertain">The mail data was sent to its end and not answered: the mail server may or may not have the message.</param>
/// <param name="Detail">What the operating system said; for the log.</param>
internal readonly record struct Outcome(Stage Stage, Reply? Reply, Failure Failure, bool Uncertain = false, string? Detail = null)
{
    /// <summary>The value of an outcome not yet known.</summary>
    public bool IsOpen => Reply is null && Failure == Failure.None;

    public static Outcome Of(Stage stage, Reply reply) => new(stage, reply, Failure.None);

    public static Outcome Of(Stage stage, Failure failure, bool uncertain = false, string? detail = null) =>
        new(stage, null, failure, uncertain, detail);

    /// <summary>For the log and the queue table: "rcpt: 550 5.1.1 no such user", "final dot: timed out (uncertain)".</summary>
    public override string ToString() => $"{StageText}: {ReplyText}";

    public string StageText => TextOf(Stage);

    public string ReplyText
    {
        get
        {
            string what = Reply is not null ? Reply.ToString() : Detail is null ? TextOf(Failure) : $"{TextOf(Failure)}: {Detail}";
            return Uncertain ? $"{what} (uncertain)" : what;
        }
    }

    private static string TextOf(Stage stage) => stage switch
    {
        Stage.Connect => "connect",
        Stage.Greeting => "greeting",
        Stage.Ehlo => "ehlo",
        Stage.Tls => "tls",
        Stage.Auth => "auth",
        Stage.Mail => "mail",
        Stage.Rcpt => "rcpt",
        Stage.Data => "data",
        Stage.Bdat => "bdat",
        Stage.FinalDot => "final dot",
    };

    private static string TextOf(Failure failure) => failure switch
    {
        Failure.None => "open",
        Failure.Unreachable => "cannot connect",
        Failure.Closed => "connection closed",
        Failure.TimedOut => "timed out",
        Failure.Garbage => "not an SMTP reply",
        Failure.ReplyTooLong => "reply too long",
        Failure.Cancelled => "cancelled",
        Failure.UnsafeAddress => "address with a control character",
        Failure.NeedsSmtpUtf8 => "next hop has no SMTPUTF8",
        Failure.TooLarge => "larger than the next hop's SIZE",
        Failure.NeedsEightBit => "next hop has no 8BITMIME",
        Failure.Loop => "too many Received fields, a loop",
        Failure.Expired => "not delivered within its lifetime",
        Failure.Returned => "returned by the operator",
        Failure.TlsFailed => "no TLS",
        Failure.AuthFailed => "not logged in",
        Failure.NoSuchDomain => "the domain does not exist",
        Failure.NullMx => "the domain takes no mail",
        Failure.DnsFailed => "no answer from DNS",
        Failure.MxLoop => "the domain's MX records lead back to this relay",
        Failure.NoMailServer => "no mail server of the domain has an address",
    };
}

/// <summary>What one transaction came to.</summary>
/// <param name="Outcomes">One for each recipient that was passed in, in that order.</param>
/// <param name="SessionUsable">The session can take another transaction; otherwise it is closed.</param>
internal readonly record struct TransactionResult(IReadOnlyList<Outcome> Outcomes, bool SessionUsable);

/// <summary>What came of opening a session.</summary>
/// <param name="Session">Null when it could not be opened.</param>
/// <param name="Outcome">Why not; stage connect to AUTH.</param>
internal readonly record struct Opening(OutboundSession? Session, Outcome Outcome);
