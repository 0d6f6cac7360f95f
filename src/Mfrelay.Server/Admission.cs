using System.Net;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// Who may send what where, decided from one immutable picture of the config and the server's own view of the mail servers. A reload
/// makes a new one. Asked at MAIL and RCPT; a null refusal means yes.
/// </summary>
internal sealed class Admission(Settings settings, HealthMonitor? health)
{
    private readonly Reply _notAvailable = Replies.ServiceNotAvailable(settings.HostName);

    public Settings Settings { get; } = settings;
    public RouteTable Routes { get; } = new(settings.MailServers);

    /// <summary>Nobody outside the allowed networks may send: an open relay is impossible by default.</summary>
    public Reply? ForClient(IPAddress client)
    {
        foreach (IPNetwork network in Settings.Server.Allow)
        {
            if (network.Contains(client))
                return null;
        }
        return Replies.MayNotSend;
    }

    /// <summary>S8: the sender's own mail server is down.</summary>
    public Reply? ForSender(string reversePath) =>
        Routes.ForAddress(reversePath) is { } route && RoutePolicy.CountsForSender(route) && IsRefused(route) ? _notAvailable : null;

    /// <summary>No route, S7, and S11 for a size that the sender declared.</summary>
    /// <param name="sizeLimit">What the route's mail servers take.</param>
    public Reply? ForRecipient(string forwardPath, long? declaredSize, out long sizeLimit)
    {
        sizeLimit = long.MaxValue;
        if (Routes.ForAddress(forwardPath) is not { } route)
            return Replies.NoRoute;
        if (IsRefused(route))
            return _notAvailable;
        if (health is not null)
            sizeLimit = RoutePolicy.SizeLimit(route, health.HealthOf);
        return declaredSize > sizeLimit ? Replies.TooLargeForRoute : null;
    }

    private bool IsRefused(Route route) => health is not null && RoutePolicy.Refuses(route, health.StateOf);
}
