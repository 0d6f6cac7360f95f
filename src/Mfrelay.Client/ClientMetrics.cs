using System.Diagnostics.Metrics;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>The instruments of mf-smtp-client; made only when client.metrics_listen is set.</summary>
internal sealed class ClientMetrics(QueueRunner runner, AlertWatch alerts)
{
    /// <returns>The registered domains.</returns>
    public Func<IEnumerable<string>> AddTo(DaemonMetrics metrics)
    {
        runner.Figures.Delay = metrics.DelayTime("mfrelay.delivery.delay", "From the arrival of a message to its delivery");
        runner.Figures.AttemptTime = metrics.TransactionTime("mfrelay.attempt", "How long an attempt took, the opening of a session included", byRoute: true);
        runner.MeasureSyncs(metrics.SyncTime());
        AddQueue(metrics);
        AddResults(metrics);
        metrics.Gauge("mfrelay.mail_server.up", null, "1: the daemon of this view reaches the mail server, or does not know better",
            () => OfServers(server => runner.StateOf(server).IsDown ? 0 : 1));
        metrics.Gauge("mfrelay.mail_server.drained", null, "1: an operator has nothing sent through it",
            () => OfServers(server => runner.StateOf(server).IsDrained ? 1 : 0));
        metrics.Gauge("mfrelay.sessions.open", null, "Sessions with mail servers, opening ones included", () => OfServers(runner.SessionsWith));
        metrics.Gauge("mfrelay.alerts", null, "Alerts of [alert] that are up", () => Enum.GetValues<AlertRule>().Select(rule =>
            new Measurement<double>(alerts.Up.Count(alert => alert.Rule == rule), [new("rule", Setting.SnakeCase(rule.ToString()))])));
        return Entries;
    }

    private IEnumerable<string> Entries() => runner.Routes.Routes.Select(route => route.Name);

    private void AddQueue(DaemonMetrics metrics)
    {
        Add("deliveries", null, "Deliveries in the queue", rows => rows.Sum(row => row.Count));
        Add("held", null, "Deliveries on hold", rows => rows.Sum(row => row.Held));
        Add("active", null, "Deliveries given to a mail server", rows => rows.Sum(row => row.Active));
        Add("size", "By", "Mail data of the deliveries in the queue, each rounded up to a KiB", rows => rows.Sum(row => row.Octets));
        Add("oldest_age", "s", "How long the oldest delivery has waited; 0: there is none", rows => rows.Max(row => Age(row.Oldest)));
        Add("next_due", "s", "How long until the next attempt; 0: one is due, or there is none", rows =>
            rows.Where(row => row.NextDue != DateTimeOffset.MaxValue).Select(row => Math.Max(0, -Age(row.NextDue))).DefaultIfEmpty().Min());

        void Add(string name, string? unit, string help, Func<RouteSummary[], double> read) =>
            metrics.Gauge($"mfrelay.queue.{name}", unit, help, () => OfQueue(read));
    }

    // Nothing is said before the queue has been counted for the first time: 0 would be wrong.
    private IEnumerable<Measurement<double>> OfQueue(Func<RouteSummary[], double> read)
    {
        if (runner.Overview().Queue is not { } queue)
            return [];
        RouteTable routes = runner.Routes;
        ILookup<string, RouteSummary> rows = queue.Routes.Where(row => row.Count > 0).ToLookup(row => routes.EntryOf(row.Route), StringComparer.Ordinal);
        return Entries().Union(rows.Select(group => group.Key), StringComparer.Ordinal)
            .Select(entry => DaemonMetrics.OfRoute(entry, rows.Contains(entry) ? read([.. rows[entry]]) : 0));
    }

    private double Age(DateTimeOffset time) => (runner.Time.GetUtcNow() - time).TotalSeconds;

    private void AddResults(DaemonMetrics metrics)
    {
        metrics.Counter("mfrelay.attempts", null, "Attempts by what came of them: deferred when that is so for one recipient",
            () => OfResults((route, result) => route.Attempts(result)));
        metrics.Counter("mfrelay.recipients", null, "Recipients by what came of an attempt, or of giving up",
            () => OfResults((route, result) => route.Recipients(result)));
    }

    private IEnumerable<Measurement<long>> OfResults(Func<RouteFigures, Disposition, Tally> read) =>
        from entry in Entries().Union(runner.Figures.Routes, StringComparer.Ordinal)
        from result in Enum.GetValues<Disposition>()
        select new Measurement<long>(
            read(runner.Figures.Of(entry), result).Value, [new("route", entry), new("result", Setting.SnakeCase(result.ToString()))]);

    private IEnumerable<Measurement<double>> OfServers(Func<MailServer, double> read) =>
        from route in runner.Routes.Routes
        from server in route.MailServers
        select new Measurement<double>(read(server), DaemonMetrics.Labels(route.Name, server, "client"));
}
