namespace Mfrelay.Core;

/// <summary>What the health of a route's mail servers means for its mail. Pure: both processes, the command and the simulation ask here.</summary>
public static class RoutePolicy
{
    /// <summary>
    /// S7: a recipient is refused with 421 when none of the mail servers of its route is reached in the server's view, "not yet checked"
    /// included; unless an entry of the route says when_down = "queue" (B5).
    /// </summary>
    public static bool Refuses(Route route, Func<MailServer, HealthState> serverView)
    {
        // By index: asked for every MAIL and RCPT, and an enumerator is an allocation.
        for (int i = 0; i < route.MailServers.Count; i++)
        {
            MailServer server = route.MailServers[i];
            if (server.IsMx || server.WhenDown == WhenDown.Queue || serverView(server) == HealthState.Reached)
                return false;
        }
        return true;
    }

    /// <summary>S8: the sender's domain counts when it is registered by name; the default route "*" names nobody.</summary>
    public static bool CountsForSender(Route route) => !string.Equals(route.Name, "*", StringComparison.Ordinal);

    /// <summary>S11: the smallest SIZE that those mail servers of the route announced that are up; long.MaxValue when none did.</summary>
    public static long SizeLimit(Route route, Func<MailServer, MailServerHealth?> serverView)
    {
        long limit = long.MaxValue;
        for (int i = 0; i < route.MailServers.Count; i++)
        {
            if (serverView(route.MailServers[i]) is { State: HealthState.Reached, Announced.SizeLimit: > 0 and var size } && size < limit)
                limit = size;
        }
        return limit;
    }
}

/// <summary>
/// Round robin over the mail servers of each domain (C9): fair to within one message. Kept over a reload. Not for use by several threads.
/// </summary>
public sealed class Rotation
{
    private readonly Dictionary<string, int> _next = new(StringComparer.Ordinal);

    /// <summary>The mail server whose turn it is.</summary>
    public MailServer Take(Route route)
    {
        MailServer chosen = Peek(route);
        // Nothing to remember of one alone; with MX records there is a route for each domain of the world.
        if (route.MailServers.Count > 1)
            _next[route.Name] = (_next.GetValueOrDefault(route.Name) + 1) % route.MailServers.Count;
        return chosen;
    }

    /// <summary>
    /// failover = "next": the first from the one whose turn it is that is not on the check list; the turn moves on by one all the same.
    /// Null when all are on it.
    /// </summary>
    public MailServer? TakeUnlisted(Route route, Func<MailServer, bool> isListed)
    {
        int first = _next.GetValueOrDefault(route.Name) % route.MailServers.Count;
        Take(route);
        for (int i = 0; i < route.MailServers.Count; i++)
        {
            MailServer server = route.MailServers[(first + i) % route.MailServers.Count];
            if (!isListed(server))
                return server;
        }
        return null;
    }

    /// <summary>
    /// Whom a message that is due goes to: the one whose turn it is, or with failover = "next" the first that is not on the check list.
    /// Null: nobody, it waits for its next time (C4).
    /// </summary>
    public MailServer? Choose(Route route, Failover failover, Func<MailServer, bool> isListed)
    {
        if (failover == Failover.Next)
            return TakeUnlisted(route, isListed);
        MailServer server = Take(route);
        return isListed(server) ? null : server;
    }

    public MailServer Peek(Route route) => route.MailServers[_next.GetValueOrDefault(route.Name) % route.MailServers.Count];
}
