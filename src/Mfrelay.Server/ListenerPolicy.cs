using System.Net;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>What a listener demands and offers, worked out from its profile and settings.</summary>
/// <param name="Tls">None, Starttls or Implicit.</param>
/// <param name="TakesStrangers">Clients without any right may send to domains that are registered by name.</param>
internal sealed record ListenerPolicy(ListenerTls Tls, bool RequireTls, bool OffersAuth, bool RequireAuth, bool TakesStrangers, bool ProxyProtocol)
{
    /// <summary>Of an address of server.listen.</summary>
    public static ListenerPolicy Plain(Settings settings) => new(
        settings.Certificates.Count > 0 ? ListenerTls.Starttls : ListenerTls.None,
        RequireTls: false,
        OffersAuth: settings.Server.UsersFile.Length > 0,
        RequireAuth: false,
        TakesStrangers: settings.Server.AcceptFrom == AcceptFrom.Anyone,
        ProxyProtocol: false);

    public static ListenerPolicy Of(Settings settings, ListenerSettings listener)
    {
        ListenerPolicy plain = Plain(settings);
        return plain with
        {
            Tls = (listener.Tls, listener.Profile) switch
            {
                (ListenerTls.Profile, ListenerProfile.Smtps) => ListenerTls.Implicit,
                (ListenerTls.Profile, _) => plain.Tls,
                _ => listener.Tls,
            },
            RequireTls = listener.RequireTls || listener.IsForUsers,
            OffersAuth = plain.OffersAuth && listener.Auth,
            RequireAuth = listener.RequireAuth || listener.IsForUsers,
            TakesStrangers = plain.TakesStrangers && !listener.IsForUsers,
            ProxyProtocol = listener.ProxyProtocol,
        };
    }
}

/// <summary>Who is at the other end of a session, as far as it is known by now.</summary>
/// <param name="listener">The address that it came to, as configured.</param>
internal sealed class SessionPeer(IPAddress address, IPEndPoint? listener = null)
{
    public IPAddress Address { get; set; } = address;

    /// <summary>The address before any XCLIENT: what decides whether XCLIENT is believed.</summary>
    public IPAddress Origin { get; set; } = address;

    public IPEndPoint? Listener { get; } = listener;
    public bool IsTls { get; set; }

    /// <summary>It showed one of server.client_certificates.</summary>
    public bool IsCertified { get; set; }

    /// <summary>After AUTH.</summary>
    public string? User { get; set; }

    public bool HasProvenItself => User is not null || IsCertified;
}
