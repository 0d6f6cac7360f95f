using System.Collections.Frozen;
using System.Runtime.Serialization;

namespace Mfrelay.Core;

/// <summary>One registered downstream MTA: what a [[mail_server]] entry of the config says.</summary>
public sealed record MailServer
{
    /// <summary>The domain it is registered for: "example.com", "*.example.com" (every domain below it) or "*" (every other).</summary>
    [Setting("Domain whose mail it takes: \"example.com\", \"*.example.com\" for every domain below, or \"*\" for every other",
        Form = SettingForm.DomainPattern, Example = "example.com")]
    public required string Domain { get; init { field = value; Name(); } }

    /// <summary>Host name or address; "mx": whatever the domain's MX records say (RFC 5321 5.1).</summary>
    [Setting("Its host name or IP address; \"mx\" delivers by the MX records of each recipient's domain", Form = SettingForm.Host, Example = "192.0.2.1")]
    public required string Host { get; init { field = value; Name(); } }

    [Setting("Its port", Min = "1", Max = "65535")]
    public int Port { get; init { field = value; Name(); } } = 25;

    /// <summary>Sessions open to it at once.</summary>
    [Setting("Most sessions open to it at once", Min = "1", Max = "1000")]
    public int Concurrency { get; init; } = 20;

    /// <summary>
    /// No one mail server but those of the MX records. mf-smtp-server does not check them; mf-smtp-client has a queue and an entry of the check
    /// list for each recipient's domain.
    /// </summary>
    public bool IsMx => string.Equals(Host, "mx", StringComparison.OrdinalIgnoreCase);

    /// <summary>"192.168.0.1:25": how log lines and the health table name it.</summary>
    public string Address { get; private set; } = "";

    /// <summary>What tells one entry from another: the same address may be registered for several domains.</summary>
    public string Key { get; private set; } = "";

    public static string KeyOf(string domain, string address) => $"{domain} {address}";

    /// <summary>Once and not when they are asked for, which is with every recipient.</summary>
    private void Name()
    {
        Address = AddressOf(Host ?? "", Port);
        Key = KeyOf(Domain ?? "", Address);
    }

    /// <summary>B5; one entry that says queue says it for all of its domain.</summary>
    [Setting("When none of its domain's mail servers is reached: \"refuse\" answers 421, \"queue\" accepts and lets it wait")]
    public WhenDown WhenDown { get; init; } = WhenDown.Refuse;

    [Setting("TLS: \"none\", \"opportunistic\" where it can be had, any certificate; \"required\" with a good certificate; \"implicit\" the same from the first octet")]
    public TlsMode Tls { get; init; } = TlsMode.Opportunistic;

    [Setting("PEM file of the authorities that may have signed its certificate; \"\" is those that the system trusts", Form = SettingForm.OptionalPath)]
    public string TlsCaFile { get; init; } = "";

    [Setting("SHA-256 fingerprints of its certificate, any of which is enough and none other good; hexadecimal digits with or without \":\"")]
    public IReadOnlyList<string> TlsFingerprint { get; init; } = [];

    [Setting("Oldest version of TLS, \"1.2\" or \"1.3\"")]
    public TlsVersion TlsMinVersion { get; init; } = TlsVersion.Tls12;

    [Setting("PEM file of our certificate for it, with those of its authorities behind it; \"\" is none", Form = SettingForm.OptionalPath)]
    public string TlsClientCertificate { get; init; } = "";

    [Setting("PEM file of the key of our certificate; \"\" is the file of the certificate", Form = SettingForm.OptionalPath)]
    public string TlsClientKey { get; init; } = "";

    [Setting("How to log in: \"none\", \"plain\", \"login\", \"cram-md5\", \"scram-sha-256\" or \"xoauth2\"")]
    public AuthMethod Auth { get; init; } = AuthMethod.None;

    [Setting("The user to log in as")]
    public string AuthUser { get; init; } = "";

    [Setting("File whose first line is the password, or the token for xoauth2", Form = SettingForm.OptionalPath)]
    public string AuthSecretFile { get; init; } = "";

    [Setting("The same from a credential of the service, by its name (LoadCredential= in systemd.exec(5)) instead of a file")]
    public string AuthCredential { get; init; } = "";

    [Setting("IP address to connect from; \"\" is the system's choice", Form = SettingForm.OptionalAddress)]
    public string SourceAddress { get; init; } = "";

    [Setting("Name to say in EHLO; \"\" is host_name", Form = SettingForm.OptionalName)]
    public string EhloName { get; init; } = "";

    [Setting("How long to wait for a connection; 0 is that of [client]", Min = "0s", Max = "10m")]
    public TimeSpan ConnectTimeout { get; init; }

    [Setting("How long to wait for the greeting; 0 is that of [client]", Min = "0s", Max = "1h")]
    public TimeSpan GreetingTimeout { get; init; }

    [Setting("How long to wait for the reply to a command; 0 is that of [client]", Min = "0s", Max = "1h")]
    public TimeSpan CommandTimeout { get; init; }

    [Setting("How long sending one block of mail data may take; 0 is that of [client]", Min = "0s", Max = "1h")]
    public TimeSpan DataTimeout { get; init; }

    [Setting("How long to wait for the reply to the final dot; 0 is that of [client]", Min = "0s", Max = "1h")]
    public TimeSpan FinalDotTimeout { get; init; }

    [Setting("How long to keep an idle session open; 0 is that of [client]", Min = "0s", Max = "10m")]
    public TimeSpan IdleTimeout { get; init; }

    [Setting("Messages sent through one session; 0 is that of [client]", Min = "0", Max = "1000000")]
    public int MessagesPerSession { get; init; }

    [Setting("Most messages a second; 0 is no limit", Min = "0", Max = "100000")]
    public int MessagesPerSecond { get; init; }

    public static string AddressOf(string host, int port) => host.Contains(':', StringComparison.Ordinal) ? $"[{host}]:{port}" : $"{host}:{port}";
}

/// <summary>What TLS a mail server gets (RFC 3207, 8314).</summary>
public enum TlsMode
{
    None,

    /// <summary>STARTTLS where it is offered and works, with whatever certificate; in the clear otherwise.</summary>
    Opportunistic,

    /// <summary>STARTTLS and a certificate that is trusted, or nothing is sent.</summary>
    Required,

    /// <summary>As required, but from the first octet on, usually on port 465.</summary>
    Implicit,
}

public enum TlsVersion
{
    [EnumMember(Value = "1.2")]
    Tls12,

    [EnumMember(Value = "1.3")]
    Tls13,
}

/// <summary>SASL mechanisms (RFC 4954).</summary>
public enum AuthMethod
{
    None,
    Plain,
    Login,

    [EnumMember(Value = "cram-md5")]
    CramMd5,

    [EnumMember(Value = "scram-sha-256")]
    ScramSha256,

    Xoauth2,
}

/// <summary>Where mail for one registered domain goes: its mail servers, in the order of the config.</summary>
/// <param name="Name">The domain as registered; the key stored in the queue table.</param>
public sealed record Route(string Name, IReadOnlyList<MailServer> MailServers);

/// <summary>
/// The registered list as a look-up, immutable; a reload makes a new one. The most exact entry wins:
/// the domain itself, then the nearest "*." entry above it, then "*".
/// </summary>
public sealed class RouteTable
{
    private readonly FrozenDictionary<string, Route> _byName;
    private readonly FrozenDictionary<string, Route>.AlternateLookup<ReadOnlySpan<char>> _byDomain;
    private readonly Route? _default;
    private readonly bool _hasWildcards;
    private readonly Route? _postmaster;

    public RouteTable(IEnumerable<MailServer> mailServers)
    {
        Routes = [.. mailServers
            .GroupBy(server => server.Domain.ToLowerInvariant(), StringComparer.Ordinal)
            .Select(group => new Route(group.Key, [.. group]))];
        _byName = Routes.ToFrozenDictionary(route => route.Name, StringComparer.OrdinalIgnoreCase);
        _byDomain = _byName.GetAlternateLookup<ReadOnlySpan<char>>();
        _default = _byName.GetValueOrDefault("*");
        _hasWildcards = Routes.Any(route => route.Name.StartsWith("*.", StringComparison.Ordinal));
        Route[] fixedOnes = [.. Routes.Where(route => !IsByMx(route))]; // no domain, no MX records
        _postmaster = fixedOnes.FirstOrDefault(route => route.Name is "*") ?? fixedOnes.FirstOrDefault();
    }

    public IReadOnlyList<Route> Routes { get; }

    /// <summary>The route for mail to a domain, or null when no entry fits (550 5.1.2).</summary>
    public Route? ForDomain(ReadOnlySpan<char> domain)
    {
        if (domain is [.., '.'])
            domain = domain[..^1];
        if (_byDomain.TryGetValue(domain, out Route? route))
            return route;
        if (_hasWildcards)
        {
            while (HostName.NextAbove(ref domain) is { } above)
            {
                if (_byDomain.TryGetValue(above, out route))
                    return route;
            }
        }
        return _default;
    }

    /// <summary>
    /// The route for an address. A bare "postmaster" must be taken (RFC 5321 4.5.1): it goes where the default route goes, or else to the first
    /// mail servers of the config. There is none for the null reverse-path.
    /// </summary>
    public Route? ForAddress(string forwardPath)
    {
        int at = forwardPath.LastIndexOf('@');
        return at >= 0 ? ForDomain(forwardPath.AsSpan(at + 1)) : forwardPath.Length > 0 ? _postmaster : null;
    }

    /// <summary>The route a queued delivery names, or null when it has left the config.</summary>
    public Route? Named(string name)
    {
        if (_byName.TryGetValue(name, out Route? route) && !IsByMx(route))
            return route;
        route = ForDomain(name);
        return route is not null && IsByMx(route) ? new Route(name, [route.MailServers[0] with { Domain = name }]) : null;
    }

    /// <summary>The registered domain that a route belongs to, "-" for none: where MX records decide, there is a route for each domain of the world.</summary>
    public string EntryOf(string route) => ForDomain(route)?.Name ?? "-";

    /// <summary>An entry with MX is alone in its route: the config check sees to that.</summary>
    private static bool IsByMx(Route route) => route.MailServers[0].IsMx;

    /// <summary>
    /// The deliveries of a message: its recipients grouped by route. A recipient that no entry fits any more keeps the name of its
    /// domain as its route, so that it waits in the queue, visibly, until the config names one.
    /// </summary>
    public IEnumerable<Delivery> Split(Envelope envelope, SpoolPosition position, long size)
    {
        // Nearly all mail takes one route, and grouping costs more than all the rest.
        string first = NameFor(envelope.Recipients[0].ForwardPath);
        var recipients = new OpenRecipient[envelope.Recipients.Count];
        bool together = true;
        for (int i = 0; i < recipients.Length && together; i++)
        {
            string path = envelope.Recipients[i].ForwardPath;
            recipients[i] = new OpenRecipient(i, path);
            together = i == 0 || HaveOneDomain(path, envelope.Recipients[i - 1].ForwardPath)
                || string.Equals(NameFor(path), first, StringComparison.Ordinal);
        }
        if (together)
            return [DeliveryOf(envelope, position, size, first, recipients)];
        return envelope.Recipients
            .Select((recipient, ordinal) => (recipient, ordinal, route: NameFor(recipient.ForwardPath)))
            .GroupBy(item => item.route, StringComparer.Ordinal)
            .Select(group => DeliveryOf(
                envelope, position, size, group.Key, [.. group.Select(item => new OpenRecipient(item.ordinal, item.recipient.ForwardPath))]));
    }

    private static bool HaveOneDomain(string a, string b)
    {
        (int atA, int atB) = (a.LastIndexOf('@'), b.LastIndexOf('@'));
        return atA >= 0 && atB >= 0 && a.AsSpan(atA).SequenceEqual(b.AsSpan(atB));
    }

    private static Delivery DeliveryOf(Envelope envelope, SpoolPosition position, long size, string route, IReadOnlyList<OpenRecipient> recipients) => new()
    {
        Id = envelope.Id,
        Position = position,
        Size = size,
        Arrival = envelope.Arrival,
        ReversePath = envelope.ReversePath,
        Route = route,
        Recipients = recipients,
        Envelope = envelope,
    };

    /// <summary>A delivery by the present routes: one for each that its recipients take now.</summary>
    public IReadOnlyList<Delivery> Reroute(Delivery delivery) =>
    [
        .. delivery.Recipients.GroupBy(recipient => NameFor(recipient.ForwardPath), StringComparer.Ordinal)
            .Select(group => delivery with { Route = group.Key, Recipients = [.. group] }),
    ];

    /// <summary>The name of the route for an address; its own domain where no entry fits, or where MX records decide.</summary>
    public string NameFor(string forwardPath) =>
        ForAddress(forwardPath) is { } route && !IsByMx(route) ? route.Name : forwardPath[(forwardPath.LastIndexOf('@') + 1)..].TrimEnd('.').ToLowerInvariant();
}
