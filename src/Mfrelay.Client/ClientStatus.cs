using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>The line that "systemctl status mf-smtp-client" shows.</summary>
internal static class ClientStatus
{
    /// <param name="queue">Null: not counted yet.</param>
    /// <param name="listed">Mail servers on the check list or drained.</param>
    /// <param name="alerts">"alerts: ..."; empty when all is well.</param>
    public static string Of(QueueSummary? queue, IReadOnlyList<string> listed, string alerts, long linesLost)
    {
        var c = CultureInfo.InvariantCulture;
        int count = queue?.Routes.Sum(route => route.Count) ?? 0, held = queue?.Routes.Sum(route => route.Held) ?? 0;
        string line = queue is null ? "queue: not counted yet" : string.Create(c, $"queue: {count} deliveries");
        if (held > 0)
            line += string.Create(c, $", {held} on hold");
        line += listed.Count == 0 ? "; check list: empty" : string.Create(c, $"; check list: {listed.Count}{StatusText.Names(listed)}");
        if (alerts.Length > 0)
            line += $"; {alerts}";
        return line + StatusText.Lost(linesLost);
    }
}
