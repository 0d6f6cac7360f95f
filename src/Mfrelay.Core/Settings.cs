using System.Net;

namespace Mfrelay.Core;

/// <summary>
/// What the config file says, with defaults for what it does not say. A new setting is a new property here (or in
/// <see cref="MailServer"/>) and nothing else; a test then asks for its lines in packaging/mfrelay.toml.
/// </summary>
public sealed record Settings
{
    /// <summary>Never empty. <see cref="ConfigFile.Load(string)"/> puts the machine's full name here when the file does not name one.</summary>
    [Setting("Name of this machine in greetings, EHLO and Received lines", Form = SettingForm.DomainName,
        Example = "relay.example.jp", DefaultIs = "the machine's full host name")]
    public string HostName { get; init; } = "localhost";

    [Setting("Where the spool and the queue database are", Form = SettingForm.AbsolutePath)]
    public string StateDirectory { get; init; } = "/var/lib/mfrelay";

    [Setting("Where the sockets of running processes are", Form = SettingForm.AbsolutePath)]
    public string RunDirectory { get; init; } = "/run/mfrelay";

    [Setting("Language of the health messages in the journal; their codes are the same in both")]
    public Language Language { get; init; } = Language.Ja;

    /// <summary>Below LogRateLimitBurst of the units, so that the journal itself drops nothing.</summary>
    [Setting("Most lines of information that each service writes to the journal in 30 s, warnings not counted; 0 is no limit", Min = "0", Max = "10000000")]
    public int LogLimit { get; init; } = 150_000;

    [Setting("mf-smtp-server: accepting mail")]
    public ServerSettings Server { get; init; } = new();

    [Setting("mf-smtp-client: delivering mail")]
    public ClientSettings Client { get; init; } = new();

    [Setting("The mail servers that mail is delivered to, an entry for each; entries of one domain share its mail", Key = "mail_server")]
    public IReadOnlyList<MailServer> MailServers { get; init; } = [];
}

public sealed record ServerSettings
{
    [Setting("Addresses and ports to listen on", NotEmpty = true)]
    public IReadOnlyList<IPEndPoint> Listen { get; init; } = [new(IPAddress.Any, 25), new(IPAddress.IPv6Any, 25)];

    [Setting("Networks that may send; [] is nobody")]
    public IReadOnlyList<IPNetwork> Allow { get; init; } = [IPNetwork.Parse("127.0.0.0/8"), IPNetwork.Parse("::1/128")];

    /// <summary>Octets of mail data.</summary>
    [Setting("Largest message, announced in the SIZE keyword of EHLO", Min = "64KiB", Max = "2GiB")]
    public long MaxMessageSize { get; init; } = 50_000_000;

    /// <summary>RFC 5321 4.5.3.1.8 wants at least 100.</summary>
    [Setting("Most recipients of one transaction", Min = "100", Max = "50000")]
    public int MaxRecipients { get; init; } = 1000;

    [Setting("Most sessions at once, of all listeners together", Min = "1", Max = "100000")]
    public int MaxConnections { get; init; } = 2000;

    [Setting("How long to wait for the next command (RFC 5321 4.5.3.2.7)", Min = "1s", Max = "1h")]
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromMinutes(5);

    [Setting("How long mail data may stand still (RFC 5321 4.5.3.2.5)", Min = "1s", Max = "1h")]
    public TimeSpan DataTimeout { get; init; } = TimeSpan.FromMinutes(5);

    [Setting("Refused commands after which a session is closed", Min = "1", Max = "10000")]
    public int MaxErrors { get; init; } = 20;

    [Setting("What becomes of a message with a bare CR, bare LF or NUL: \"reject\" refuses it, \"accept\" keeps the bytes")]
    public BareNewline BareNewline { get; init; } = BareNewline.Reject;

    [Setting("How long running transactions may finish when the service stops", Min = "0s", Max = "10m")]
    public TimeSpan ShutdownTimeout { get; init; } = TimeSpan.FromSeconds(25);

    /// <summary>S1.</summary>
    [Setting("How often a mail server that answers is checked", Min = "1s", Max = "7d")]
    public TimeSpan CheckInterval { get; init; } = TimeSpan.FromHours(1);

    /// <summary>S9.</summary>
    [Setting("How often a mail server that is down is checked again", Min = "1s", Max = "1d")]
    public TimeSpan RecheckInterval { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>S10.</summary>
    [Setting("While a mail server stays down, only every so many failed checks are logged", Min = "1", Max = "10000")]
    public int LogEveryFailure { get; init; } = 15;

    [Setting("How long a check waits for the connection, and for each answer", Min = "1s", Max = "10m")]
    public TimeSpan CheckTimeout { get; init; } = TimeSpan.FromSeconds(30);

    [Setting("Most checks at once", Min = "1", Max = "10000")]
    public int MaxChecks { get; init; } = 1000;

    /// <summary>RFC 5321 3.8 lets a server close after 421; open is better, since the sender may have mail for other domains.</summary>
    [Setting("Close the session after a 421 for a mail server that is down")]
    public bool CloseAfter421 { get; init; }
}

public sealed record ClientSettings
{
    /// <summary>Waits before the second, third, ... attempt; the last one repeats.</summary>
    [Setting("Waits between attempts; the last one repeats", Min = "1s", Max = "7d", NotEmpty = true)]
    public IReadOnlyList<TimeSpan> Retry { get; init; } =
    [
        TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(15), TimeSpan.FromMinutes(30), TimeSpan.FromHours(1),
    ];

    [Setting("How long to wait for a connection", Min = "1s", Max = "10m")]
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(30);

    [Setting("How long to wait for the greeting (RFC 5321 4.5.3.2.1)", Min = "1s", Max = "1h")]
    public TimeSpan GreetingTimeout { get; init; } = TimeSpan.FromMinutes(5);

    [Setting("How long to wait for the reply to a command (RFC 5321 4.5.3.2.2 and 4.5.3.2.3)", Min = "1s", Max = "1h")]
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromMinutes(5);

    [Setting("How long sending one block of mail data may take (RFC 5321 4.5.3.2.5)", Min = "1s", Max = "1h")]
    public TimeSpan DataTimeout { get; init; } = TimeSpan.FromMinutes(3);

    [Setting("How long to wait for the reply to the final dot (RFC 5321 4.5.3.2.6)", Min = "1s", Max = "1h")]
    public TimeSpan FinalDotTimeout { get; init; } = TimeSpan.FromMinutes(10);

    [Setting("How long to keep an idle session open for the next message", Min = "0s", Max = "10m")]
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(5);

    [Setting("Messages sent through one session before it is closed; 0 is no limit", Min = "0", Max = "1000000")]
    public int MessagesPerSession { get; init; } = 100;

    [Setting("Most recipients of one transaction; a message with more is sent in several", Min = "1", Max = "50000")]
    public int MaxRecipientsPerTransaction { get; init; } = 100;

    [Setting("How long running transactions may finish when the service stops", Min = "0s", Max = "10m")]
    public TimeSpan ShutdownTimeout { get; init; } = TimeSpan.FromSeconds(25);

    /// <summary>C5.</summary>
    [Setting("How often a mail server on the check list is checked again", Min = "1s", Max = "1d")]
    public TimeSpan RecheckInterval { get; init; } = TimeSpan.FromMinutes(5);

    [Setting("When the chosen mail server fails: \"none\" waits for the retry, \"next\" tries the others at once")]
    public Failover Failover { get; init; } = Failover.None;

    [Setting("When a mail server leaves the check list: \"schedule\" waits for each message's retry, \"release\" sends at once")]
    public OnRecovery OnRecovery { get; init; } = OnRecovery.Schedule;
}

/// <summary>C9.</summary>
public enum Failover
{
    None,
    Next,
}

/// <summary>C7.</summary>
public enum OnRecovery
{
    Schedule,
    Release,
}

/// <summary>B5: what mf-smtp-server does with mail for a domain none of whose mail servers is reached.</summary>
public enum WhenDown
{
    /// <summary>421 (S7).</summary>
    Refuse,

    /// <summary>Accept, and let it wait in the queue.</summary>
    Queue,
}

public enum Language
{
    Ja,
    En,
}

/// <summary>What mf-smtp-server does with mail data that has a bare CR, a bare LF or a NUL.</summary>
public enum BareNewline
{
    /// <summary>Read to its end and answer 550 5.6.0.</summary>
    Reject,

    /// <summary>Keep the bytes; the data still ends at CRLF.CRLF alone.</summary>
    Accept,
}
