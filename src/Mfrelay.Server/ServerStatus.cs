using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>The line that "systemctl status mf-smtp-server" shows.</summary>
internal static class ServerStatus
{
    public static string Of(Settings settings, Func<MailServer, HealthState> stateOf, long linesLost)
    {
        MailServer[] watched = [.. settings.MailServers.Where(server => !server.IsMx)];
        string[] down = [.. watched.Where(server => stateOf(server) != HealthState.Reached).Select(server => server.Address).Distinct(StringComparer.Ordinal)];
        return string.Create(CultureInfo.InvariantCulture,
            $"listening on {string.Join(", ", settings.EndPoints)}; mail servers: {watched.Length} registered, {down.Length} not reached")
            + StatusText.Names(down) + StatusText.Lost(linesLost);
    }
}
