using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>From an accepted MAIL to the end of mail data (RFC 5321 3.3). Made by MAIL, dropped by whatever ends it.</summary>
internal sealed class MailTransaction
{
    public required string ReversePath { get; init; }

    /// <summary>The client may send to domains that are registered by name, and nowhere else.</summary>
    public bool IsOfStranger { get; init; }

    public BodyType Body { get; init; }
    public bool SmtpUtf8 { get; init; }
    public DsnReturn Return { get; init; }
    public string? EnvelopeId { get; init; }
    /// <summary>SIZE= of MAIL.</summary>
    public long? DeclaredSize { get; init; }

    /// <summary>Octets that the mail servers of all recipients so far take (S11).</summary>
    public long SizeLimit { get; set; } = long.MaxValue;

    public List<Recipient> Recipients { get; } = new(1);

    /// <summary>Assigned when mail data begins.</summary>
    public QueueId Id { get; set; }

    /// <summary>A BDAT has come: DATA may not follow.</summary>
    public bool Chunked { get; set; }

    /// <summary>A chunk was refused: nothing but RSET helps (RFC 3030 2).</summary>
    public bool Failed { get; set; }
}
