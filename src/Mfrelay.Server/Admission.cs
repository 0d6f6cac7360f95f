using System.Net;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// Who may send what where, decided from one immutable picture of the config; a reload makes a new one. Asked at MAIL and RCPT.
/// Null means yes.
/// </summary>
internal sealed class Admission(Settings settings)
{
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

    public Reply? ForRecipient(string forwardPath) => Routes.ForAddress(forwardPath) is null ? Replies.NoRoute : null;
}
