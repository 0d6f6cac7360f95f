using System.Collections.Frozen;
using System.Net;
using System.Text.RegularExpressions;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// Who may send what where, decided from one immutable picture of the config and the server's own view of the mail servers. A reload
/// makes a new one. Asked at EHLO, MAIL and RCPT; a null refusal means yes.
/// </summary>
internal sealed class Admission(Settings settings, HealthMonitor? health)
{
    private readonly Func<MailServer, HealthState> _stateOf = health is null ? static _ => HealthState.Reached : health.StateOf;
    private readonly Func<MailServer, MailServerHealth?> _healthOf = health is null ? static _ => null : health.HealthOf;
    private readonly Reply _notAvailable = Replies.ServiceNotAvailable(settings.HostName);
    private readonly Reply?[] _ehlo = new Reply?[16];
    private readonly AddressRules _refuseHelo = new(settings.Server.RefuseHelo);
    private readonly AddressRules _refuseSenders = new(settings.Server.RefuseSenders);
    private readonly AddressRules _refuseRecipients = new(settings.Server.RefuseRecipients);
    private readonly AddressRules _acceptRecipients = new(settings.Server.AcceptRecipients);
    private readonly ListenerPolicy _plain = ListenerPolicy.Plain(settings);
    private readonly FrozenDictionary<IPEndPoint, ListenerPolicy> _listeners =
        settings.Listeners.ToFrozenDictionary(listener => listener.Address, listener => ListenerPolicy.Of(settings, listener));
    private readonly FrozenSet<string> _fingerprints = settings.Server.ClientCertificates
        .Select(fingerprint => fingerprint.Replace(":", "", StringComparison.Ordinal))
        .ToFrozenSet(StringComparer.OrdinalIgnoreCase);

    public Settings Settings { get; } = settings;
    public RouteTable Routes { get; } = new(settings.MailServers);
    public Reply Greeting { get; } = Replies.Greeting(settings.HostName);
    public Reply Helo { get; } = Replies.Helo(settings.HostName);

    public ListenerPolicy PolicyOf(IPEndPoint? listener) =>
        listener is not null && _listeners.TryGetValue(listener, out ListenerPolicy? policy) ? policy : _plain;

    /// <summary>Made once for each combination of what is offered.</summary>
    public Reply Ehlo(bool startTls, bool auth, bool xclient)
    {
        ref Reply? reply = ref _ehlo[(startTls ? 1 : 0) | (auth ? 2 : 0) | (xclient ? 4 : 0)];
        return reply ??= Replies.Ehlo(Settings.HostName, Settings.Server.MaxMessageSize, startTls, auth, xclient);
    }

    public bool AsksForCertificates => _fingerprints.Count > 0;

    /// <param name="fingerprint">SHA-256 of the certificate that the client has proven to own, in hexadecimal.</param>
    public bool IsTrustedCertificate(string fingerprint) => _fingerprints.Contains(fingerprint);

    public bool MayXclient(IPAddress origin) => IsIn(Settings.Server.XclientFrom, origin);

    public bool IsTrustedProxy(IPAddress address) => IsIn(Settings.Server.ProxyFrom, address);

    /// <summary>Nobody outside the allowed networks may send: an open relay is impossible by default.</summary>
    public Reply? ForClient(IPAddress client) => IsIn(Settings.Server.Allow, client) ? null : Replies.MayNotSend;

    /// <summary>At MAIL: whether this client may send at all.</summary>
    /// <param name="isStranger">It may, but only to domains that are registered by name: ask <see cref="ForStranger"/> at RCPT.</param>
    public Reply? ForClient(SessionPeer peer, out bool isStranger)
    {
        isStranger = false;
        ListenerPolicy policy = PolicyOf(peer.Listener);
        if (policy.RequireTls && !peer.IsTls)
            return Replies.TlsRequired;
        if (peer.HasProvenItself)
            return null;
        if (policy.RequireAuth)
            return Replies.AuthRequired;
        Reply? refusal = ForClient(peer.Address);
        isStranger = refusal is not null && policy.TakesStrangers;
        return isStranger ? null : refusal;
    }

    /// <summary>
    /// At RCPT of a stranger: only domains that an entry names, since "*" would make us a relay for the world, and no local part that a
    /// mail server might take for another address (user%other@domain, other!user@domain). "postmaster" alone goes where the operator's
    /// default route says (RFC 5321 4.5.1).
    /// </summary>
    public Reply? ForStranger(string forwardPath)
    {
        int at = forwardPath.LastIndexOf('@');
        if (at < 0)
            return null;
        if (forwardPath.AsSpan(0, at).ContainsAny('%', '!', '@'))
            return Replies.MayNotRelay;
        return Routes.ForAddress(forwardPath) is { } route && route.Name is "*" ? Replies.MayNotRelay : null;
    }

    public Reply? ForHelo(string name) => Match(_refuseHelo, name, ifTooSlow: true) ? Replies.HeloRefused : null;

    /// <summary>The operator's rules, and S8: the sender's own mail server is down.</summary>
    public Reply? ForSender(string reversePath)
    {
        if (Match(_refuseSenders, reversePath, ifTooSlow: true))
            return Replies.SenderRefused;
        return Routes.ForAddress(reversePath) is { } route && RoutePolicy.CountsForSender(route) && IsRefused(route) ? _notAvailable : null;
    }

    /// <summary>The operator's rules, no route, S7, and S11 for a size that the sender declared.</summary>
    /// <param name="sizeLimit">What the route's mail servers take.</param>
    public Reply? ForRecipient(string forwardPath, long? declaredSize, out long sizeLimit)
    {
        sizeLimit = long.MaxValue;
        if (Match(_refuseRecipients, forwardPath, ifTooSlow: true)
            || (!_acceptRecipients.IsEmpty && !Match(_acceptRecipients, forwardPath, ifTooSlow: false)))
            return Replies.RecipientRefused;
        if (Routes.ForAddress(forwardPath) is not { } route)
            return Replies.NoRoute;
        if (IsRefused(route))
            return _notAvailable;
        sizeLimit = RoutePolicy.SizeLimit(route, _healthOf);
        return declaredSize > sizeLimit ? Replies.TooLargeForRoute : null;
    }

    /// <param name="ifTooSlow">What counts when a rule takes too long: always what is against the address.</param>
    private static bool Match(AddressRules rules, string address, bool ifTooSlow)
    {
        try
        {
            return rules.Match(address);
        }
        catch (RegexMatchTimeoutException)
        {
            return ifTooSlow;
        }
    }

    public static bool IsIn(IReadOnlyList<IPNetwork> networks, IPAddress address)
    {
        for (int i = 0; i < networks.Count; i++)
        {
            if (networks[i].Contains(address))
                return true;
        }
        return false;
    }

    private bool IsRefused(Route route) => RoutePolicy.Refuses(route, _stateOf);
}
