namespace Mfrelay.Core;

/// <summary>Whose view it is: the two processes keep separate ones (S12). The numbers are on disk.</summary>
public enum HealthOwner
{
    Server = 0,
    Client = 1,
}

/// <summary>The numbers are on disk.</summary>
public enum HealthState
{
    /// <summary>Not checked yet. For the server that counts as not reached (S7); for the client it is the normal case (C1).</summary>
    Unknown = 0,

    /// <summary>The last check or delivery came through.</summary>
    Reached = 1,

    /// <summary>Not reached; for the client: on the check list.</summary>
    Down = 2,
}

/// <summary>What greeting and EHLO of a mail server said (S2).</summary>
/// <param name="Extensions">The EHLO keywords, blank between them.</param>
/// <param name="SizeLimit">Octets; 0: none announced.</param>
/// <param name="Tls">"TLSv1.3" after STARTTLS; empty without.</param>
/// <param name="CertificateExpiry">Of its certificate; the minimum value when there is none.</param>
public sealed record Announcement(string Extensions, long SizeLimit, string Tls = "", DateTimeOffset CertificateExpiry = default)
{
    public static readonly Announcement None = new("", 0);
}

/// <summary>
/// The health of one registered mail server in the view of one process: a row of the health table, and the state of the state machines
/// in <see cref="ServerChecks"/> and <see cref="CheckList"/>.
/// </summary>
public sealed record MailServerHealth
{
    public required HealthOwner Owner { get; init; }
    public required string Domain { get; init; }
    public required string Host { get; init; }
    public required int Port { get; init; }

    public HealthState State { get; init; }

    /// <summary>When the state became what it is.</summary>
    public DateTimeOffset Since { get; init; }

    public DateTimeOffset LastCheck { get; init; }

    /// <summary>Failed checks in a row.</summary>
    public int Failures { get; init; }

    /// <summary>What the last failed check ended with; empty when the last one succeeded.</summary>
    public string LastError { get; init; } = "";

    /// <summary>When it is checked next; the maximum value: not until something happens.</summary>
    public DateTimeOffset NextCheck { get; init; }

    public Announcement Announced { get; init; } = Announcement.None;

    /// <summary>The last successful delivery; kept by the client. The minimum value: none since the row was made.</summary>
    public DateTimeOffset LastDelivery { get; init; }

    /// <summary>"192.168.0.1:25".</summary>
    public string Address => MailServer.AddressOf(Host, Port);

    /// <summary>The <see cref="MailServer.Key"/> of the entry that it is about.</summary>
    public string Key => MailServer.KeyOf(Domain, Address);

    public static MailServerHealth Of(HealthOwner owner, MailServer server, DateTimeOffset now) => new()
    {
        Owner = owner,
        Domain = server.Domain,
        Host = server.Host,
        Port = server.Port,
        Since = now,
        NextCheck = owner == HealthOwner.Server ? now : DateTimeOffset.MaxValue,
    };
}

/// <summary>What happened to a mail server.</summary>
public abstract record HealthEvent
{
    private HealthEvent()
    {
    }

    /// <summary>A check begins.</summary>
    public sealed record CheckStarts : HealthEvent;

    /// <summary>A check ended well.</summary>
    public sealed record CheckSucceeded(Announcement Announced) : HealthEvent;

    /// <summary>A check found no connection (S5).</summary>
    public sealed record ConnectFailed(string Error) : HealthEvent;

    /// <summary>A check found a connection, but no good greeting or EHLO reply (S6).</summary>
    public sealed record DialogFailed(string Error) : HealthEvent;

    /// <summary>A delivery could not connect or timed out (C2).</summary>
    public sealed record DeliveryFailed(string Error) : HealthEvent;

    /// <summary>A delivery got a reply to its mail data.</summary>
    public sealed record DeliverySucceeded : HealthEvent;
}

/// <summary>What a state machine says: the new state, and the lines of the catalogue that an operator reads.</summary>
public readonly record struct HealthChange(MailServerHealth Health, IReadOnlyList<LogEvent> Lines);
