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
            bool IsOfServer(string route) => string.Equals(_routes.Named(route)?.Name, server.Domain, StringComparison.OrdinalIgnoreCase);
            _schedule.Release(route => IsOfServer(route.Name), now);
            foreach (InHand hand in _active.Values.Where(hand => hand.Ended is not null && IsOfServer(hand.Delivery.Route)).Distinct().ToArray())
            {
                // Tried before it had a row: it waits as the others do.
                Func<Delivery, Delivery> change = hand.Ended!;
                LetGo(hand.Delivery);
                WaitForRow(hand.Delivery, row => change(row) with { NextAttempt = now });
            }
        }
        _news.Writer.TryWrite(true);
    }

    /// <summary>
    /// Takes over a changed config: nothing in flight is cut, queued mail goes by the new list. Returns how many deliveries changed route.
    /// </summary>
    public async Task<int> ReloadAsync(Settings settings)
    {
        lock (_gate)
        {
            Settings = settings;
            _routes = new RouteTable(settings.MailServers);
            _mx = null; // the next one is made with the new settings
            foreach (Delivery delivery in _servers.Values.SelectMany(queue => queue.Retire()))
                LetGo(delivery);
            _retired.RemoveAll(queue => queue.Sessions == 0);
            _retired.AddRange(_servers.Values); // their attempts that run are finished
            _servers.Clear();
        }
        _checkList.Apply();
        (long generation, long nextKey) = await Store.RunAsync(table => (table.Generation, table.NextKey));
        StartOver(generation, nextKey);
        await _loading;
        _news.Writer.TryWrite(true);
        return _moved;
    }

    /// <summary>With MX records there is a queue for each domain of the world, as long as there is something to do for it.</summary>
    private void ForgetIdle()
    {
        lock (_gate)
        {
            foreach ((string key, MailServerQueue queue) in _servers)
            {
                if (queue is { Server.IsMx: true, IsIdle: true })
                    _servers.Remove(key);
            }
        }
    }

    /// <summary>A mail server as the config has it now; null when it is not registered any more.</summary>
    public MailServer? Registered(string domain, string key)
    {
        RouteTable routes = _routes;
        return routes.Named(domain.ToLowerInvariant())?.MailServers.FirstOrDefault(server => string.Equals(server.Key, key, StringComparison.Ordinal));
    }

    /// <summary>Opens a session with a mail server; with host = "mx" with the first of its domain's that answers well (RFC 5321 5.1).</summary>
    /// <returns>With whom: for host = "mx" the one that was tried last.</returns>
    public async Task<(Opening Opening, MailServer Peer)> OpenAsync(SessionOpener opener, MailServer server, CancellationToken cancel)
    {
        if (!server.IsMx)
            return (await opener.OpenAsync(server, cancel), server);
        MxResolver mx;
        lock (_gate)
            mx = _mx ??= new MxResolver(Settings, Time);
        MxAnswer answer = await mx.ResolveAsync(server.Domain, cancel);
        var opening = new Opening(null, answer.Outcome);
        MailServer peer = server;
        foreach (MxCandidate candidate in answer.Candidates)
        {
            peer = server with { Host = candidate.Host };
            opening = await opener.OpenAsync(peer, cancel, candidate.Addresses);
            if (opening.Session is not null || cancel.IsCancellationRequested)
                break;
        }
        return (opening, peer);
    }

    /// <summary>A check of a listed mail server: a session like that of a delivery, then QUIT.</summary>
    private async Task<HealthEvent> CheckAsync(MailServer server, CancellationToken cancel)
    {
        (Opening opening, _) = await OpenAsync(new SessionOpener(SessionSettings.Of(Settings, server)), server, cancel);
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
