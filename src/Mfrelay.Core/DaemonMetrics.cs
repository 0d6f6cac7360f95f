using System.Diagnostics.Metrics;

namespace Mfrelay.Core;

/// <summary>The instruments that both daemons have; each adds its own to the meter. Made only when metrics are asked for.</summary>
internal sealed class DaemonMetrics : IDisposable
{
    /// <summary>Bounds of what takes parts of a second, up to the time-outs of SMTP.</summary>
    private static readonly double[] TransactionBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

    /// <summary>From right away to a day.</summary>
    private static readonly double[] DelayBounds = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 1800, 3600, 14400, 86400];

    private static readonly double[] SyncBounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

    public DaemonMetrics(string version, MailLog log, TimeProvider time)
    {
        double started = time.GetUtcNow().ToUnixTimeMilliseconds() / 1000.0;
        Gauge("mfrelay.info", null, "1, with the version as a label", () => [new Measurement<double>(1, [new("version", version)])]);
        Gauge("mfrelay.start_time", "s", "When the process was started, in seconds since 1970", () => [new Measurement<double>(started)]);
        Gauge("mfrelay.process.memory", "By", "Memory of the process that is resident", () => [new Measurement<double>(Environment.WorkingSet)]);
        Meter.CreateObservableCounter("mfrelay.process.cpu", () => Environment.CpuUsage.TotalTime.TotalSeconds, "s", "Processor time of the process");
        Counter("mfrelay.log.lines_lost", null, "Log lines that the journal did not take, or that log_limit left out", () => log.Lost);
    }

    public Meter Meter { get; } = new("mfrelay");

    public void Gauge(string name, string? unit, string help, Func<IEnumerable<Measurement<double>>> read) =>
        Meter.CreateObservableGauge(name, read, unit, help);

    public void Counter(string name, string? unit, string help, Func<long> read) => Meter.CreateObservableCounter(name, read, unit, help);

    public void Counter(string name, string? unit, string help, Func<IEnumerable<Measurement<long>>> read) =>
        Meter.CreateObservableCounter(name, read, unit, help);

    /// <summary>A histogram without labels of how long a transaction takes.</summary>
    public Histogram<double> TransactionTime(string name, string help, bool byRoute = false) => Time(name, help, TransactionBounds, byRoute);

    public Histogram<double> DelayTime(string name, string help) => Time(name, help, DelayBounds, byRoute: true);

    public Histogram<double> SyncTime() =>
        Time("mfrelay.spool.sync", "How long making mail durable takes, each fdatasync of the spool", SyncBounds, byRoute: false);

    /// <summary>Labels of a mail server in the view of one daemon.</summary>
    public static KeyValuePair<string, object?>[] Labels(string route, MailServer server, string view) =>
        [new("route", route), new("mail_server", server.Address), new("view", view)];

    public static Measurement<double> OfRoute(string route, double value) => new(value, [new("route", route)]);

    public void Dispose() => Meter.Dispose();

    private Histogram<double> Time(string name, string help, double[] bounds, bool byRoute) => Meter.CreateHistogram(
        name, "s", help, byRoute ? [new(MetricsText.ByRoute, true)] : [], new InstrumentAdvice<double> { HistogramBucketBoundaries = bounds });
}
