using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace Mfrelay.Core;

/// <summary>
/// What the instruments of a meter say, in Prometheus' text format 0.0.4: "mfrelay.queue.oldest_age" in "s" is mfrelay_queue_oldest_age_seconds, a
/// counter ends in _total. Observable instruments are asked when somebody reads, so a route that is not registered any more is not shown any more;
/// histograms are kept here, and have their series for each route before anything was measured.
/// </summary>
internal sealed class MetricsText : IDisposable
{
    /// <summary>Of HTTP: what the text is.</summary>
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private readonly Meter _meter;
    private readonly Func<IEnumerable<string>> _routes;
    private readonly MeterListener _listener = new();
    private readonly SortedDictionary<string, Family> _families = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();

    /// <param name="routes">The routes that a histogram with the label "route" has series for from the start.</param>
    public MetricsText(Meter meter, Func<IEnumerable<string>> routes)
    {
        (_meter, _routes) = (meter, routes);
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (!ReferenceEquals(instrument.Meter, _meter))
                return;
            var family = new Family(instrument);
            lock (_gate)
                _families.Add(family.Name, family);
            listener.EnableMeasurementEvents(instrument, family);
        };
        _listener.SetMeasurementEventCallback<long>(static (_, value, labels, family) => ((Family)family!).Take(value, labels));
        _listener.SetMeasurementEventCallback<double>(static (_, value, labels, family) => ((Family)family!).Take(value, labels));
        _listener.Start();
    }

    /// <summary>All series as they are now.</summary>
    public string Read()
    {
        // One reader at a time: what the observable instruments say goes into the families.
        lock (_gate)
        {
            foreach (Family family in _families.Values)
                family.Forget();
            _listener.RecordObservableInstruments();
            var text = new StringBuilder(16 * 1024);
            foreach (Family family in _families.Values)
                family.Write(text, _routes);
            return text.ToString();
        }
    }

    public void Dispose() => _listener.Dispose();

    /// <summary>An instrument with all of its series.</summary>
    private sealed class Family
    {
        private readonly string _type;
        private readonly string _help;
        private readonly double[]? _bounds;
        private readonly bool _isByRoute;
        private readonly List<(string Labels, double Value)> _samples = [];
        private readonly ConcurrentDictionary<string, Distribution> _distributions = new(StringComparer.Ordinal);

        public Family(Instrument instrument)
        {
            bool isCounter = instrument is ObservableCounter<long> or ObservableCounter<double>;
            string unit = instrument.Unit switch
            {
                "s" => "_seconds",
                "By" => "_bytes",
                null or "" => "",
                _ => throw new ArgumentException($"{instrument.Name} has the unit {instrument.Unit}, which no metric may have", nameof(instrument)),
            };
            Name = instrument.Name.Replace('.', '_') + unit + (isCounter ? "_total" : "");
            _help = instrument.Description ?? "";
            if (instrument is Histogram<double> histogram)
            {
                _bounds = [.. histogram.Advice!.HistogramBucketBoundaries!];
                _isByRoute = instrument.Tags?.Any(tag => tag.Key is ByRoute) == true;
            }
            _type = _bounds is not null ? "histogram" : isCounter ? "counter" : "gauge";
        }

        public string Name { get; }

        public void Forget() => _samples.Clear();

        /// <summary>Of a histogram on the path of each message: allocates nothing. It has no label, or a route.</summary>
        public void Take(double value, ReadOnlySpan<KeyValuePair<string, object?>> labels)
        {
            if (_bounds is null)
                _samples.Add((Labelled(labels), value));
            else
                DistributionOf(labels.IsEmpty ? "" : (string)labels[0].Value!).Add(value, _bounds);
        }

        public void Write(StringBuilder text, Func<IEnumerable<string>> routes)
        {
            text.Append("# HELP ").Append(Name).Append(' ').Append(_help.Replace("\\", "\\\\", StringComparison.Ordinal));
            text.Append("\n# TYPE ").Append(Name).Append(' ').Append(_type).Append('\n');
            if (_bounds is null)
            {
                foreach ((string labels, double value) in _samples)
                    Line(text, "", labels, value);
                return;
            }
            foreach (string route in _isByRoute ? routes() : [""])
                DistributionOf(route);
            foreach ((string route, Distribution distribution) in _distributions.OrderBy(one => one.Key, StringComparer.Ordinal))
                WriteHistogram(text, _isByRoute ? Labelled([new("route", route)]) : "", distribution);
        }

        private Distribution DistributionOf(string route) =>
            _distributions.TryGetValue(route, out Distribution? known) ? known : _distributions.GetOrAdd(route, new Distribution(_bounds!.Length + 1));

        private void WriteHistogram(StringBuilder text, string labels, Distribution distribution)
        {
            (long[] counts, double sum) = distribution.Read();
            string more = labels.Length == 0 ? "" : labels + ",";
            long below = 0;
            for (int i = 0; i < counts.Length; i++)
            {
                below += counts[i];
                Line(text, "_bucket", $"{more}le=\"{(i < _bounds!.Length ? Number(_bounds[i]) : "+Inf")}\"", below);
            }
            Line(text, "_sum", labels, sum);
            Line(text, "_count", labels, below);
        }

        private void Line(StringBuilder text, string suffix, string labels, double value)
        {
            text.Append(Name).Append(suffix);
            if (labels.Length > 0)
                text.Append('{').Append(labels).Append('}');
            text.Append(' ').Append(Number(value)).Append('\n');
        }

        private static string Labelled(ReadOnlySpan<KeyValuePair<string, object?>> labels)
        {
            var text = new StringBuilder();
            foreach ((string name, object? value) in labels)
                text.Append(text.Length == 0 ? "" : ",").Append(name).Append("=\"").Append(Escaped(value?.ToString() ?? "")).Append('"');
            return text.ToString();
        }

        private static string Escaped(string value) => value.Replace("\\", "\\\\", StringComparison.Ordinal)
            .Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

        private static string Number(double value) => value switch
        {
            double.PositiveInfinity => "+Inf",
            double.NegativeInfinity => "-Inf",
            _ => value.ToString("R", CultureInfo.InvariantCulture), // "NaN" too
        };
    }

    /// <summary>An instrument's own tag that says: each measurement has the label "route".</summary>
    public const string ByRoute = "by_route";

    /// <summary>How often a value was in which bucket.</summary>
    private sealed class Distribution(int buckets)
    {
        private readonly Lock _gate = new();
        private readonly long[] _counts = new long[buckets];
        private double _sum;

        public void Add(double value, double[] bounds)
        {
            int bucket = 0;
            while (bucket < bounds.Length && value > bounds[bucket])
                bucket++;
            lock (_gate)
            {
                _counts[bucket]++;
                _sum += value;
            }
        }

        public (long[] Counts, double Sum) Read()
        {
            lock (_gate)
                return ([.. _counts], _sum);
        }
    }
}
