using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>What mf-smtp-client counts, always, by registered domain; times only while somebody reads metrics.</summary>
internal sealed class ClientFigures
{
    private readonly ConcurrentDictionary<string, RouteFigures> _routes = new(StringComparer.Ordinal);

    /// <summary>From arrival to delivery, and how long an attempt took; null: nobody asks.</summary>
    public Histogram<double>? Delay { get; set; }
    public Histogram<double>? AttemptTime { get; set; }

    public IReadOnlyList<string> Routes => [.. _routes.Keys];

    public RouteFigures Of(string entry) => _routes.GetOrAdd(entry, static _ => new RouteFigures());

    /// <summary>Recipients of all routes.</summary>
    public long Recipients(Disposition disposition) => _routes.Values.Sum(route => route.Recipients(disposition).Value);

    /// <summary>An attempt ended: with what for its recipients, and after which time.</summary>
    /// <param name="entry">The registered domain.</param>
    public void AttemptEnded(string entry, int delivered, int deferred, int failed, TimeSpan delay, TimeSpan duration)
    {
        RouteFigures route = Of(entry);
        route.Attempts(deferred > 0 ? Disposition.Deferred : failed > 0 ? Disposition.Failed : Disposition.Delivered).Add();
        route.Recipients(Disposition.Delivered).Add(delivered);
        route.Recipients(Disposition.Deferred).Add(deferred);
        route.Recipients(Disposition.Failed).Add(failed);
        AttemptTime?.Record(duration.TotalSeconds, new KeyValuePair<string, object?>("route", entry));
        if (delivered > 0)
            Delay?.Record(delay.TotalSeconds, new KeyValuePair<string, object?>("route", entry));
    }

    /// <summary>Recipients that failed without a last attempt.</summary>
    public void GivenUp(string entry, int recipients) => Of(entry).Recipients(Disposition.Failed).Add(recipients);
}

/// <summary>Of one registered domain.</summary>
internal sealed class RouteFigures
{
    private readonly Tally[] _attempts = [new(), new(), new()];
    private readonly Tally[] _recipients = [new(), new(), new()];

    /// <summary>By the worst that became of its recipients, deferred being worse than failed: it is tried again.</summary>
    public Tally Attempts(Disposition disposition) => _attempts[(int)disposition];

    public Tally Recipients(Disposition disposition) => _recipients[(int)disposition];
}
