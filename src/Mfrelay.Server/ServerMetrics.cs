using System.Diagnostics.Metrics;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>The instruments of mf-smtp-server; made only when server.metrics_listen is set.</summary>
internal static class ServerMetrics
{
    private static readonly bool[] BothWays = [false, true];

    /// <returns>The registered domains.</returns>
    public static Func<IEnumerable<string>> AddTo(
        DaemonMetrics metrics, SmtpServices services, HealthMonitor health, StateDirectory directory)
    {
        ServerFigures figures = services.Figures;
        RouteTable Routes() => services.Admission().Routes;
        figures.AcceptTime = metrics.TransactionTime("mfrelay.accept", "From the first octet of mail data to its 250");
        services.Queue.Spool.SyncTime = metrics.SyncTime();
        metrics.Counter("mfrelay.accepted.messages", null, "Messages that were answered with 250", () => figures.Accepted.Value);
        metrics.Counter("mfrelay.accepted", "By", "Octets of mail data of accepted messages", () => figures.Octets.Value);
        metrics.Counter("mfrelay.accepted.recipients", null, "Recipients of accepted messages, by the registered domain that they go to", () =>
            Routes().Routes.Select(route => route.Name).Union(figures.Recipients.Keys, StringComparer.Ordinal)
                .Select(route => new Measurement<long>(figures.Recipients.GetValueOrDefault(route)?.Value ?? 0, [new("route", route)])));
        metrics.Counter("mfrelay.refused", null, "Refusals by class of the reply and by what was refused", () =>
            from forGood in BothWays
            from inData in BothWays
            select new Measurement<long>(figures.RefusedAs(forGood, inData), [new("class", forGood ? "5xx" : "4xx"), new("stage", inData ? "data" : "command")]));
        metrics.Counter("mfrelay.connections", null, "Connections of clients", () => figures.Connections.Value);
        metrics.Gauge("mfrelay.connections.open", null, "Connections of clients that are open", () => [new Measurement<double>(services.Open)]);
        metrics.Gauge("mfrelay.mail_server.up", null, "1: the daemon of this view reaches the mail server, or does not know better", () =>
            Routes().Routes.SelectMany(route => route.MailServers.Where(server => !server.IsMx).Select(server =>
                new Measurement<double>(health.StateOf(server) == HealthState.Reached ? 1 : 0, DaemonMetrics.Labels(route.Name, server, "server")))));
        var sizes = new StateSizes(directory, services.Time);
        metrics.Gauge("mfrelay.spool", "By", "Size of the spool", () => [new Measurement<double>(sizes.Spool)]);
        metrics.Gauge("mfrelay.database", "By", "Size of the database with its log", () => [new Measurement<double>(sizes.Database)]);
        metrics.Gauge("mfrelay.disk.free", "By", "Room on the file system of state_directory", () =>
            directory.Room() is { } room ? [new Measurement<double>(room)] : []);
        return () => Routes().Routes.Select(route => route.Name);
    }
}

/// <summary>How much of the disk queue and database take, as of a moment ago: there may be a hundred thousand files.</summary>
internal sealed class StateSizes(StateDirectory directory, TimeProvider time)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    private long _looked;
    private (long Spool, long Database)? _sizes;

    public long Spool => Look().Spool;
    public long Database => Look().Database;

    // Only readers of metrics come here, one at a time.
    private (long Spool, long Database) Look()
    {
        if (_sizes is not { } sizes || time.GetElapsedTime(_looked) >= Interval)
        {
            _looked = time.GetTimestamp();
            _sizes = sizes = (SizeOf(directory.Spool, "*"), SizeOf(directory.Root, "mfrelay*"));
        }
        return sizes;
    }

    private static long SizeOf(string path, string pattern)
    {
        long size = 0;
        foreach (FileInfo file in new DirectoryInfo(path).EnumerateFiles(pattern))
        {
            try
            {
                size += file.Length;
            }
            catch (FileNotFoundException)
            {
                // Settled and removed meanwhile.
            }
        }
        return size;
    }
}
