using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>Recovery of mail servers, and reload: what changes where queued mail goes.</summary>
internal sealed partial class QueueRunner
{
    /// <summary>
    /// A mail server came off the check list. on_recovery = "schedule": each message waits for its own time (C7). "release": what waits for
    /// it is due now, and sessions to it grow 1, 2, 4, ... as messages get through.
    /// </summary>
    public void Recovered(MailServer server)
    {
        if (Settings.Client.OnRecovery != OnRecovery.Release)
            return;
        lock (_gate)
        {
            QueueOf(server).Ramp();
            DateTimeOffset now = Time.GetUtcNow();
            (Delivery Delivery, DateTimeOffset Due)[] waiting = [.. _later.UnorderedItems];
            _later.Clear();
            foreach ((Delivery delivery, DateTimeOffset due) in waiting)
            {
                bool released = string.Equals(_routes.Named(delivery.Route)?.Name, server.Domain, StringComparison.OrdinalIgnoreCase);
                _later.Enqueue(delivery, released && due > now ? now : due);
            }
        }
        _news.Writer.TryWrite(true);
    }

    /// <summary>
    /// Takes over a changed config: nothing in flight is cut, queued mail goes by the new list. Returns how many deliveries changed route.
    /// </summary>
    public async Task<int> ReloadAsync(Settings settings)
    {
        var routes = new RouteTable(settings.MailServers);
        List<Delivery> waiting = [];
        lock (_gate)
        {
            Settings = settings;
            _routes = routes;
            foreach (MailServerQueue queue in _servers.Values)
                waiting.AddRange(queue.TakeAll());
            _servers.Clear(); // workers in an attempt finish it and end
            while (_later.TryDequeue(out Delivery? delivery, out _))
                waiting.Add(delivery);
        }
        _checkList.Apply(settings);

        List<(Delivery Old, List<Delivery> New)> changed = [];
        foreach (Delivery delivery in waiting)
        {
            List<Delivery> now = Reroute(delivery, routes);
            if (now.Count == 1 && string.Equals(now[0].Route, delivery.Route, StringComparison.Ordinal))
                Requeue(delivery);
            else
                changed.Add((delivery, now));
        }
        await ReplaceAsync(changed);
        _news.Writer.TryWrite(true);
        return changed.Count;
    }

    /// <summary>The config changed while this delivery was in flight or the process was not running: it takes its present route.</summary>
    private bool Moved(Delivery delivery)
    {
        RouteTable routes = _routes;
        if (delivery.Recipients.All(recipient => string.Equals(routes.NameFor(recipient.ForwardPath), delivery.Route, StringComparison.Ordinal)))
            return false;
        _ = ReplaceAsync([(delivery, Reroute(delivery, routes))]);
        return true;
    }

    private static List<Delivery> Reroute(Delivery delivery, RouteTable routes) =>
        [.. delivery.Recipients
            .GroupBy(recipient => routes.NameFor(recipient.ForwardPath), StringComparer.Ordinal)
            .Select(group => delivery with { Route = group.Key, Recipients = [.. group] })];

    private void Requeue(Delivery delivery)
    {
        lock (_gate)
        {
            if (delivery.NextAttempt > Time.GetUtcNow())
                _later.Enqueue(delivery, delivery.NextAttempt);
            else
                Dispatch(delivery);
        }
    }

    /// <summary>Rows of another route take the place of the old ones; they come back as new rows.</summary>
    private async Task ReplaceAsync(List<(Delivery Old, List<Delivery> New)> changed)
    {
        lock (_gate)
        {
            foreach ((Delivery old, _) in changed)
                _known.Remove(Identity(old));
        }
        long generation = _generation;
        foreach ((Delivery Old, List<Delivery> New)[] some in changed.Chunk(RowsPerRead))
        {
            await _store.RunAsync(table =>
            {
                foreach ((Delivery old, List<Delivery> rows) in some)
                {
                    if (table.Generation == generation && table.Delete(old.Key))
                        table.Insert(rows);
                }
            });
        }
        _databaseSeen = default;
    }

    /// <summary>A check of a listed mail server: a session like that of a delivery, then QUIT.</summary>
    private async Task<HealthEvent> CheckAsync(MailServer server, CancellationToken cancel)
    {
        Opening opening = await new SessionOpener(SessionSettings.Of(Settings, server)).OpenAsync(server, cancel);
        if (opening.Session is { } session)
        {
            var announced = new Announcement(session.Capabilities.ToString(), session.MaxSize);
            await session.QuitAsync(cancel);
            return new HealthEvent.CheckSucceeded(announced);
        }
        string error = opening.Outcome.ToString();
        return opening.Outcome.Stage == Stage.Connect ? new HealthEvent.ConnectFailed(error) : new HealthEvent.DialogFailed(error);
    }
}
