using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>One look at everything: daemons with their figures, queue, mail servers, alerts. What "mfrelay status" and "mfrelay top" show.</summary>
internal sealed record Overview(
    DateTimeOffset Now, Settings Settings, IReadOnlyList<Overview.Daemon> Daemons, QueueSummary Queue, IReadOnlyList<MailServerHealth> Health,
    IReadOnlyList<Drain> Drains)
{
    /// <param name="Running">Null: it does not run.</param>
    /// <param name="Figures">Null also when it has not written any yet.</param>
    public sealed record Daemon(string Name, RunningDaemon? Running, DaemonFigures? Figures);

    public IEnumerable<MailServerHealth> Down => Health.Where(row => row.State == HealthState.Down);

    public IEnumerable<RaisedAlert> Alerts => Daemons.SelectMany(daemon => daemon.Figures?.Alerts ?? []);

    public int Deliveries => Queue.Routes.Sum(route => route.Count);
    public int Held => Queue.Routes.Sum(route => route.Held);
    public long Octets => Queue.Routes.Sum(route => route.Octets);

    public DateTimeOffset Oldest => Queue.Routes.Select(route => route.Oldest).DefaultIfEmpty(DateTimeOffset.MaxValue).Min();

    public bool DoBothRun => Daemons.All(daemon => daemon.Running is not null);

    /// <summary>What the daemons count: null where one does not run or has not said yet.</summary>
    public Figure? Of(string figure) => Daemons.Select(daemon => daemon.Figures?.Of(figure)).FirstOrDefault(found => found is not null);

    public static async Task<Overview> ReadAsync(QueueStore store, Settings settings, Language language, TextWriter error, TimeProvider time)
    {
        DateTimeOffset now = time.GetUtcNow();
        RunningDaemon[] running = [.. RunningDaemon.All(settings.RunDirectory)];
        Daemon[] daemons = [.. RunningDaemon.Names.Select(name => Array.Find(running, daemon => daemon.Is(name)) is { } found
            ? new Daemon(name, found, DaemonFigures.Read(settings.RunDirectory, name))
            : new Daemon(name, null, null))];
        (QueueSummary queue, IReadOnlyList<MailServerHealth> health) = await QueueCommand.ReadAsync(store, settings, language, error, time);
        Drain[] drains = [.. (await store.RunAsync(table => table.Drains)).Where(drain => drain.Until > now)];
        return new Overview(now, settings, daemons, queue, health, drains);
    }

    /// <summary>For --json.</summary>
    public object ToJson() => new
    {
        Daemons = Daemons.Select(daemon => new
        {
            daemon.Name,
            daemon.Running?.Pid,
            daemon.Running?.Version,
            daemon.Figures?.Started,
            daemon.Figures?.Sessions,
            Rates = daemon.Figures?.Figures,
        }),
        Queue = new
        {
            Queue.Time,
            Deliveries,
            Octets,
            Held,
            Active = Queue.Routes.Sum(route => route.Active),
            Oldest = Oldest.Known(),
        },
        MailServers = Settings.MailServers.Count,
        Down = Down.Select(row => new { Process = row.Owner, MailServer = row.Address, row.Domain, row.Since, row.LastError }),
        Drained = Drains.Select(drain => drain.Key),
        Alerts,
    };
}
