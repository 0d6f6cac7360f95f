using System.Net;
using System.Runtime.Serialization;

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

    /// <summary><see cref="ConfigFile.Load(string)"/> puts "log" in the state directory here when only that is given.</summary>
    [Setting("Where the event log and the access log are", Form = SettingForm.AbsolutePath,
        DefaultIs = "\"/var/log/mfrelay\", or with another state_directory \"log\" in that")]
    public string LogDirectory { get; init; } = "/var/log/mfrelay";

    [Setting("Days that the event log is kept, which \"mfrelay trace\" reads; 0 writes none", Min = "0", Max = "3650")]
    public int TraceDays { get; init; } = 7;

    [Setting("\"m-filter\" writes a line of CSV for every recipient that was delivered or refused; \"off\" writes none")]
    public AccessLog AccessLog { get; init; } = AccessLog.Off;

    [Setting("Days that the access log is kept", Min = "1", Max = "3650")]
    public int AccessLogDays { get; init; } = 30;

    [Setting("Language of the health messages in the journal; their codes are the same in both")]
    public Language Language { get; init; } = Language.Ja;

    /// <summary>Below LogRateLimitBurst of the units, so that the journal itself drops nothing.</summary>
    [Setting("Most lines of information that each service writes to the journal in 30 s, warnings not counted; 0 is no limit", Min = "0", Max = "10000000")]
    public int LogLimit { get; init; } = 150_000;

    [Setting("mf-smtp-server: accepting mail")]
    public ServerSettings Server { get; init; } = new();

    [Setting("mf-smtp-client: delivering mail")]
    public ClientSettings Client { get; init; } = new();

    [Setting("mf-smtp-client: telling the operator that mail piles up; each rule is off until it is given a value")]
    public AlertSettings Alert { get; init; } = new();

    [Setting("More listeners, each with a profile; those of server.listen are \"inbound\" ones", Key = "listener")]
    public IReadOnlyList<ListenerSettings> Listeners { get; init; } = [];

    [Setting("Certificates for TLS; the client's SNI name chooses, the first one is for all other names", Key = "certificate")]
    public IReadOnlyList<CertificateSettings> Certificates { get; init; } = [];

    [Setting("The mail servers that mail is delivered to, an entry for each; entries of one domain share its mail", Key = "mail_server")]
    public IReadOnlyList<MailServer> MailServers { get; init; } = [];

    /// <summary>Everything that mf-smtp-server listens on for mail.</summary>
    public IEnumerable<IPEndPoint> EndPoints => Server.Listen.Concat(Listeners.Select(listener => listener.Address).OfType<IPEndPoint>());
}

public sealed record ServerSettings
{
    [Setting("Addresses and ports to listen on; [[listener]] tables add others")]
    public IReadOnlyList<IPEndPoint> Listen { get; init; } = [new(IPAddress.Any, 25), new(IPAddress.IPv6Any, 25)];

    [Setting("Networks that may send to every registered domain; [] is nobody")]
    public IReadOnlyList<IPNetwork> Allow { get; init; } = [IPNetwork.Parse("127.0.0.0/8"), IPNetwork.Parse("::1/128")];

    [Setting("Who else may send: \"allowed\" is nobody, \"anyone\" takes mail for domains that are registered by name (never by \"*\") from the Internet")]
    public AcceptFrom AcceptFrom { get; init; } = AcceptFrom.Allowed;

    [Setting("Users that may send after AUTH: a file that \"mfrelay user add\" makes; \"\" is no AUTH", Form = SettingForm.OptionalPath)]
    public string UsersFile { get; init; } = "";

    [Setting("Offer AUTH also without TLS, where passwords can be read on the way")]
    public bool AuthWithoutTls { get; init; }

    [Setting("Client certificates that may send like a user: their SHA-256 fingerprints in hexadecimal", Form = SettingForm.Fingerprint)]
    public IReadOnlyList<string> ClientCertificates { get; init; } = [];

    [Setting("Names in EHLO and HELO that are refused: \"example.com\", \"*.example.com\" or \"/regular expression/\"", Form = SettingForm.AddressRule)]
    public IReadOnlyList<string> RefuseHelo { get; init; } = [];

    [Setting("Senders that are refused: \"user@example.com\", \"user@\", \"example.com\", \"*.example.com\", \"<>\" or \"/regular expression/\"", Form = SettingForm.AddressRule)]
    public IReadOnlyList<string> RefuseSenders { get; init; } = [];

    [Setting("Recipients that are refused, written as refuse_senders", Form = SettingForm.AddressRule)]
    public IReadOnlyList<string> RefuseRecipients { get; init; } = [];

    [Setting("When not empty, the only recipients that are taken, written as refuse_senders", Form = SettingForm.AddressRule)]
    public IReadOnlyList<string> AcceptRecipients { get; init; } = [];

    [Setting("Balancers whose PROXY header is believed, on listeners with proxy_protocol")]
    public IReadOnlyList<IPNetwork> ProxyFrom { get; init; } = [];

    [Setting("Clients whose XCLIENT command is believed")]
    public IReadOnlyList<IPNetwork> XclientFrom { get; init; } = [];

    /// <summary>Octets of mail data.</summary>
    [Setting("Largest message, announced in the SIZE keyword of EHLO", Min = "64KiB", Max = "2GiB")]
    public long MaxMessageSize { get; init; } = 50_000_000;

    [Setting("Room that mail leaves on the file system of state_directory: with less, MAIL is answered with 452 4.3.1; 0 fills it up", Min = "0B", Max = "1024GiB")]
    public long MinFreeSpace { get; init; } = 64 << 20;

    [Setting("Largest header section of a message", Min = "4KiB", Max = "64MiB")]
    public long MaxHeaderSize { get; init; } = 256 << 10;

    /// <summary>RFC 5321 4.5.3.1.6 has 998 octets; longer lines are passed on whole, since folding would break signatures.</summary>
    [Setting("Longest line of mail data, in octets", Min = "998B", Max = "2GiB")]
    public long MaxTextLine { get; init; } = 1 << 20;

    [Setting("Received fields of a message that make it one that loops (RFC 5321 6.3)", Min = "10", Max = "1000")]
    public int MaxHops { get; init; } = 50;

    /// <summary>RFC 5321 4.5.3.1.8 wants at least 100.</summary>
    [Setting("Most recipients of one transaction", Min = "100", Max = "50000")]
    public int MaxRecipients { get; init; } = 1000;

    [Setting("Longest command line in octets, its CRLF included (RFC 5321 4.5.3.1.4 has 512)", Min = "1000B", Max = "12KiB")]
    public long MaxCommandLine { get; init; } = 2048;

    [Setting("Most sessions at once, of all listeners together", Min = "1", Max = "100000")]
    public int MaxConnections { get; init; } = 2000;

    [Setting("Most sessions at once of one client: an IPv4 address or an IPv6 /64", Min = "1", Max = "100000")]
    public int MaxConnectionsPerClient { get; init; } = 100;

    [Setting("Most new sessions of one client in a minute; 0 is no limit", Min = "0", Max = "1000000")]
    public int MaxConnectionRate { get; init; } = 600;

    [Setting("Most messages of one client in a minute; 0 is no limit", Min = "0", Max = "1000000")]
    public int MaxMessageRate { get; init; }

    [Setting("Clients that the limits per client do not count")]
    public IReadOnlyList<IPNetwork> UnlimitedClients { get; init; } = [IPNetwork.Parse("127.0.0.0/8"), IPNetwork.Parse("::1/128")];

    [Setting("How long a client may take for its next command (RFC 5321 4.5.3.2.7)", Min = "1s", Max = "1h")]
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromMinutes(5);

    [Setting("The same before AUTH, on listeners that require it", Min = "1s", Max = "1h")]
    public TimeSpan UnauthenticatedTimeout { get; init; } = TimeSpan.FromMinutes(1);

    [Setting("How long a TLS handshake or a PROXY header may take", Min = "1s", Max = "10m")]
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(30);

    [Setting("How long mail data may stand still (RFC 5321 4.5.3.2.5)", Min = "1s", Max = "1h")]
    public TimeSpan DataTimeout { get; init; } = TimeSpan.FromMinutes(5);

    [Setting("Octets per second that mail data must come with on the whole, once data_timeout is over; 0 is no limit", Min = "0B", Max = "1MB")]
    public long MinDataRate { get; init; } = 500;

    [Setting("Refused commands after which a session is closed", Min = "1", Max = "10000")]
    public int MaxErrors { get; init; } = 20;

    [Setting("How long to wait with the answer once half of max_errors is reached", Min = "0s", Max = "1m")]
    public TimeSpan ErrorDelay { get; init; } = TimeSpan.FromSeconds(1);

    [Setting("Commands in a row that do nothing (NOOP, RSET, VRFY, EHLO) before each counts as an error", Min = "10", Max = "100000")]
    public int MaxIdleCommands { get; init; } = 100;

    [Setting("Most commands of one session since the last message that was accepted; 0 is no limit", Min = "0", Max = "1000000")]
    public int MaxCommands { get; init; } = 100_000;

    [Setting("Failures of AUTH after which a session is closed", Min = "1", Max = "100")]
    public int MaxAuthFailures { get; init; } = 3;

    [Setting("Failures of AUTH of one client after which it may not try for ten minutes", Min = "1", Max = "10000")]
    public int MaxAuthFailuresPerClient { get; init; } = 20;

    [Setting("How long to wait with the answer to a failed AUTH", Min = "0s", Max = "1m")]
    public TimeSpan AuthFailureDelay { get; init; } = TimeSpan.FromSeconds(3);

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
    [Setting("While a mail server stays down, only every so many failed rechecks are logged", Min = "1", Max = "10000")]
    public int LogEveryFailure { get; init; } = 15;

    [Setting("How long a check waits for the connection, and for each answer", Min = "1s", Max = "10m")]
    public TimeSpan CheckTimeout { get; init; } = TimeSpan.FromSeconds(30);

    [Setting("Most checks at once", Min = "1", Max = "10000")]
    public int MaxChecks { get; init; } = 1000;

    /// <summary>RFC 5321 3.8 lets a server close after 421; open is better, since the sender may have mail for other domains.</summary>
    [Setting("Close the session after a 421 for a mail server that is down")]
    public bool CloseAfter421 { get; init; }

    [Setting("Metrics in the format of Prometheus at http://ADDRESS/metrics, for programs on this machine; \"\" is off", Form = SettingForm.OptionalLoopback)]
    public string MetricsListen { get; init; } = "";
}

public sealed record ClientSettings
{
    /// <summary>Waits before the second, third, ... attempt; the last one repeats.</summary>
    [Setting("Waits between attempts; the last one repeats", Min = "1s", Max = "7d", NotEmpty = true)]
    public IReadOnlyList<TimeSpan> Retry { get; init; } =
    [
        TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(15), TimeSpan.FromMinutes(30), TimeSpan.FromHours(1),
    ];

    [Setting("Percent of a wait that chance may add to it, so that what failed together is not tried together", Min = "0", Max = "100")]
    public int RetryJitter { get; init; } = 10;

    [Setting("How long a message is tried before its sender gets a bounce", Min = "1s", Max = "100d")]
    public TimeSpan Lifetime { get; init; } = TimeSpan.FromDays(5);

    [Setting("The same for a message with the null reverse-path, a bounce; nobody is told when it cannot be delivered", Min = "1s", Max = "100d")]
    public TimeSpan BounceLifetime { get; init; } = TimeSpan.FromDays(1);

    [Setting("Tell the sender once when a message has waited this long; 0 never does", Min = "0s", Max = "100d")]
    public TimeSpan DelayWarning { get; init; } = TimeSpan.FromHours(4);

    [Setting("Form of bounces: \"rfc3464\" is multipart/report, \"m-filter\" the plain text of m-FILTER")]
    public BounceFormat BounceFormat { get; init; } = BounceFormat.Rfc3464;

    [Setting("A bounce takes the whole message with it up to this size, beyond it only the header fields", Min = "0", Max = "100MiB")]
    public long BounceSizeLimit { get; init; } = 50_000;

    /// <summary>RFC 6152 3 leaves a relay the choice of sending on or returning; converting would break signatures.</summary>
    [Setting("Mail with 8-bit octets for a mail server without 8BITMIME: \"send\" sends it as it is, \"bounce\" returns it", Key = "8bit")]
    public EightBitPolicy EightBit { get; init; } = EightBitPolicy.Send;

    /// <summary>RFC 5321 6.3.</summary>
    [Setting("More Received fields than this are a loop: the message is returned", Min = "10", Max = "1000")]
    public int MaxReceived { get; init; } = 50;

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

    [Setting("DNS servers for the MX records; [] is those of /etc/resolv.conf")]
    public IReadOnlyList<IPEndPoint> DnsServers { get; init; } = [];

    [Setting("How long to wait for an answer from DNS; each server is asked twice", Min = "100ms", Max = "1m")]
    public TimeSpan DnsTimeout { get; init; } = TimeSpan.FromSeconds(5);

    [Setting("Addresses of the mail servers that MX records name: \"ipv4_first\", \"ipv6_first\", or \"ipv4\" or \"ipv6\" alone")]
    public AddressOrder AddressOrder { get; init; } = AddressOrder.Ipv4First;

    [Setting("Metrics in the format of Prometheus at http://ADDRESS/metrics, for programs on this machine; \"\" is off", Form = SettingForm.OptionalLoopback)]
    public string MetricsListen { get; init; } = "";
}

public enum AddressOrder
{
    Ipv4First,
    Ipv6First,
    Ipv4,
    Ipv6,
}

public enum BounceFormat
{
    /// <summary>multipart/report (RFC 3464).</summary>
    Rfc3464,

    /// <summary>What parsers of m-FILTER's bounces know.</summary>
    [EnumMember(Value = "m-filter")]
    MFilter,
}

/// <summary>What becomes of 8-bit mail whose next hop does not say 8BITMIME.</summary>
public enum EightBitPolicy
{
    Send,
    Bounce,
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

/// <summary>Who may send besides the networks of server.allow, users and client certificates.</summary>
public enum AcceptFrom
{
    Allowed,

    /// <summary>Everybody, to domains that a [[mail_server]] entry names: an inbound gateway.</summary>
    Anyone,
}

public enum AccessLog
{
    Off,

    [EnumMember(Value = "m-filter")]
    MFilter,
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
