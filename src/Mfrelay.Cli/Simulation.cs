using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>A what-if: who is down when, which mail comes. Times are from the start of the simulation.</summary>
internal sealed record Scenario(TimeSpan Length, IReadOnlyList<Outage> Outages, IReadOnlyList<MailStream> Mail);

/// <param name="Name">A mail server's host, host:port or domain.</param>
internal sealed record Outage(string Name, TimeSpan Start, TimeSpan Length)
{
    public bool Covers(MailServer server, TimeSpan at) =>
        at >= Start && at < Start + Length && server.IsCalled(Name);
}

/// <summary>One message to a domain, every so often, the first after one interval.</summary>
internal sealed record MailStream(string Domain, TimeSpan Every);

/// <summary>
/// Both processes and their mail servers in virtual time: a queue of events, and for every decision the code that the daemons run
/// (<see cref="ServerChecks"/>, <see cref="CheckList"/>, <see cref="RoutePolicy"/>, <see cref="Rotation"/>, <see cref="RetrySchedule"/>).
/// The same scenario gives the same timeline. What it leaves out: the time that sessions take, senders that try again after 421, and the
/// ramp of on_recovery = "release".
/// </summary>
internal sealed class Simulation
{
    private static readonly DateTimeOffset Start = DateTimeOffset.UnixEpoch;

    private readonly Settings _settings;
    private readonly Scenario _scenario;
    private readonly Timeline _timeline;
    private readonly RouteTable _routes;
    private readonly Rotation _rotation = new();
    private readonly Dictionary<MailServer, MailServerHealth> _serverView = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<MailServer, MailServerHealth> _clientView = new(ReferenceEqualityComparer.Instance);
    private readonly PriorityQueue<Action, (TimeSpan Time, long Order)> _events = new();
    private readonly List<Message> _waiting = [];
    private TimeSpan _now;
    private long _order;

    private Simulation(Settings settings, Scenario scenario)
    {
        (_settings, _scenario) = (settings, scenario);
        _timeline = new Timeline(settings.Language);
        _routes = new RouteTable(settings.MailServers);
        foreach (MailServer server in settings.MailServers)
        {
            _serverView[server] = MailServerHealth.Of(HealthOwner.Server, server, Start);
            _clientView[server] = MailServerHealth.Of(HealthOwner.Client, server, Start);
        }
    }

    public static Timeline Run(Settings settings, Scenario scenario)
    {
        var simulation = new Simulation(settings, scenario);
        simulation.Run();
        return simulation._timeline;
    }

    private void Run()
    {
        foreach (Outage outage in _scenario.Outages)
        {
            At(outage.Start, () => _timeline.Break(_now, outage.Name, TimelineKind.GoesDown));
            At(outage.Start + outage.Length, () => _timeline.Break(_now, outage.Name, TimelineKind.ComesBack));
        }
        foreach (MailServer server in _settings.MailServers)
            At(TimeSpan.Zero, () => ServerCheck(server));
        foreach (MailStream stream in _scenario.Mail)
            At(stream.Every, () => Arrive(stream));
        while (_events.TryDequeue(out Action? happen, out (TimeSpan Time, long Order) key) && key.Time <= _scenario.Length)
        {
            _now = key.Time;
            happen();
        }
        _timeline.Totals.Queued = _waiting.Count;
    }

    private void At(TimeSpan time, Action happen) => _events.Enqueue(happen, (time, _order++));

    private bool IsUp(MailServer server) => !_scenario.Outages.Any(outage => outage.Covers(server, _now));

    /// <summary>A mail server that is down refuses connections at once, and says nothing of itself when it is up.</summary>
    private HealthEvent Check(MailServer server) =>
        IsUp(server) ? new HealthEvent.CheckSucceeded(Announcement.None) : new HealthEvent.ConnectFailed("Connection refused");

    private void ServerCheck(MailServer server)
    {
        void Apply(HealthEvent what)
        {
            HealthChange change = ServerChecks.Next(_serverView[server], what, Start + _now, _settings.Server, jitter: TimeSpan.Zero);
            _serverView[server] = change.Health;
            Log(change);
            if (change.Lines.Count == 0 && what is HealthEvent.ConnectFailed)
                _timeline.Add(_now, server.Domain, TimelineKind.SilentCheck, server.Address);
        }

        Apply(new HealthEvent.CheckStarts());
        Apply(Check(server));
        At(_serverView[server].NextCheck - Start, () => ServerCheck(server));
    }

    private void ClientApply(MailServer server, HealthEvent what)
    {
        bool wasListed = IsListed(server);
        HealthChange change = CheckList.Next(_clientView[server], what, Start + _now, _settings.Client);
        _clientView[server] = change.Health;
        Log(change);
        if (!wasListed && IsListed(server))
            At(change.Health.NextCheck - Start, () => ClientCheck(server));
        if (wasListed && !IsListed(server) && _settings.Client.OnRecovery == OnRecovery.Release)
            Release(server);
    }

    private void ClientCheck(MailServer server)
    {
        if (!IsListed(server))
            return;
        HealthEvent what = Check(server);
        ClientApply(server, what);
        if (!IsListed(server))
            return;
        _timeline.Add(_now, server.Domain, TimelineKind.ListedCheck, server.Address);
        At(_clientView[server].NextCheck - Start, () => ClientCheck(server));
    }

    private bool IsListed(MailServer server) => _clientView[server].State == HealthState.Down;

    private void Log(HealthChange change)
    {
        foreach (LogEvent line in change.Lines)
            _timeline.Log(_now, change.Health.Domain, line, change.Health.Address, change.Health.Domain);
    }

    private void Arrive(MailStream stream)
    {
        At(_now + stream.Every, () => Arrive(stream));
        _timeline.Totals.Sent++;
        Route? route = _routes.ForDomain(stream.Domain);
        if (route is null)
        {
            _timeline.Totals.Unroutable++;
            _timeline.Add(_now, stream.Domain, TimelineKind.NoRoute, stream.Domain);
        }
        else if (RoutePolicy.Refuses(route, server => _serverView[server].State))
        {
            _timeline.Totals.Refused++;
            _timeline.Add(_now, route.Name, TimelineKind.Refused, stream.Domain);
        }
        else
        {
            _timeline.Totals.Accepted++;
            var message = new Message(new QueueId(_timeline.Totals.Accepted), stream.Domain, route, _now);
            _waiting.Add(message);
            Attempt(message);
        }
    }

    private void Attempt(Message message)
    {
        MailServer? server = _rotation.Choose(message.Route, _settings.Client.Failover, IsListed);
        if (server is null)
        {
            _timeline.Add(_now, message.Route.Name, message.Attempts == 0 && message.Arrival == _now ? TimelineKind.Queued : TimelineKind.StillWaiting, message.Domain);
            WaitForRetry(message);
            return;
        }
        while (!IsUp(server))
        {
            _timeline.Log(_now, message.Route.Name, LogEvents.CommunicationTimedOut, message.Id, server.Host, server.Port);
            ClientApply(server, new HealthEvent.DeliveryFailed("Connection refused"));
            if (_settings.Client.Failover != Failover.Next || _rotation.TakeUnlisted(message.Route, IsListed) is not { } other)
            {
                message.Attempts++;
                _timeline.Add(_now, message.Route.Name, TimelineKind.Deferred, message.Domain);
                WaitForRetry(message);
                return;
            }
            server = other;
        }
        _waiting.Remove(message);
        ClientApply(server, new HealthEvent.DeliverySucceeded());
        _timeline.Delivered(_now, message.Route.Name, message.Domain, _now - message.Arrival);
    }

    private void WaitForRetry(Message message)
    {
        message.Due = _now + RetrySchedule.WaitAfter(Math.Max(message.Attempts, 1), _settings.Client.Retry);
        Schedule(message);
    }

    private void Schedule(Message message)
    {
        int turn = ++message.Turn;
        At(message.Due, () =>
        {
            if (message.Turn == turn) // not released meanwhile
                Attempt(message);
        });
    }

    /// <summary>on_recovery = "release".</summary>
    private void Release(MailServer server)
    {
        foreach (Message message in _waiting.Where(message => message.Due > _now && string.Equals(message.Route.Name, server.Domain, StringComparison.OrdinalIgnoreCase)))
        {
            message.Due = _now;
            Schedule(message);
        }
    }

    private sealed class Message(QueueId id, string domain, Route route, TimeSpan arrival)
    {
        public QueueId Id { get; } = id;
        public string Domain { get; } = domain;
        public Route Route { get; } = route;
        public TimeSpan Arrival { get; } = arrival;
        public TimeSpan Due { get; set; }
        public int Attempts { get; set; }
        public int Turn { get; set; }
    }
}
