using System.Diagnostics.Metrics;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class MetricsTextTests : IDisposable
{
    private readonly Meter _meter = new("mfrelay");
    private readonly List<string> _routes = ["a.example", "b.example"];
    private readonly MetricsText _text;

    public MetricsTextTests() => _text = new MetricsText(_meter, () => _routes);

    public void Dispose()
    {
        _text.Dispose();
        _meter.Dispose();
    }

    [Fact]
    public void Names_have_units_and_counters_say_total()
    {
        _meter.CreateObservableCounter("mfrelay.accepted.messages", () => 3L, null, "Messages");
        _meter.CreateObservableCounter("mfrelay.accepted", () => 5_000_000_000L, "By", "Octets");
        _meter.CreateObservableGauge("mfrelay.queue.oldest_age", () => 0.25, "s", "Age with a \\ in it");
        Assert.Equal("""
            # HELP mfrelay_accepted_bytes_total Octets
            # TYPE mfrelay_accepted_bytes_total counter
            mfrelay_accepted_bytes_total 5000000000
            # HELP mfrelay_accepted_messages_total Messages
            # TYPE mfrelay_accepted_messages_total counter
            mfrelay_accepted_messages_total 3
            # HELP mfrelay_queue_oldest_age_seconds Age with a \\ in it
            # TYPE mfrelay_queue_oldest_age_seconds gauge
            mfrelay_queue_oldest_age_seconds 0.25

            """, _text.Read());
        Assert.Equal(_text.Read(), _text.Read());
    }

    [Fact]
    public void A_route_that_is_gone_is_not_shown_any_more()
    {
        _meter.CreateObservableGauge("mfrelay.queue", () => _routes.Select(route => DaemonMetrics.OfRoute(route, 1)), null, "Queue");
        Assert.Contains("mfrelay_queue{route=\"b.example\"} 1\n", _text.Read(), StringComparison.Ordinal);
        _routes.Remove("b.example");
        Assert.DoesNotContain("b.example", _text.Read(), StringComparison.Ordinal);
    }

    [Fact]
    public void Label_values_are_escaped()
    {
        _meter.CreateObservableGauge("mfrelay.x", () => new Measurement<double>(double.PositiveInfinity, [new("route", "a\"b\\c\nd"), new("view", null)]), null, "X");
        Assert.Contains("mfrelay_x{route=\"a\\\"b\\\\c\\nd\",view=\"\"} +Inf\n", _text.Read(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_histogram_has_its_series_before_and_after_something_was_measured()
    {
        Histogram<double> time = _meter.CreateHistogram("mfrelay.time", "s", "Time", [new(MetricsText.ByRoute, true)],
            new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.5, 1] });
        Assert.Equal("""
            # HELP mfrelay_time_seconds Time
            # TYPE mfrelay_time_seconds histogram
            mfrelay_time_seconds_bucket{route="a.example",le="0.5"} 0
            mfrelay_time_seconds_bucket{route="a.example",le="1"} 0
            mfrelay_time_seconds_bucket{route="a.example",le="+Inf"} 0
            mfrelay_time_seconds_sum{route="a.example"} 0
            mfrelay_time_seconds_count{route="a.example"} 0
            mfrelay_time_seconds_bucket{route="b.example",le="0.5"} 0
            mfrelay_time_seconds_bucket{route="b.example",le="1"} 0
            mfrelay_time_seconds_bucket{route="b.example",le="+Inf"} 0
            mfrelay_time_seconds_sum{route="b.example"} 0
            mfrelay_time_seconds_count{route="b.example"} 0

            """, _text.Read());
        foreach (double seconds in new[] { 0.25, 0.5, 0.75, 8 })
            time.Record(seconds, new KeyValuePair<string, object?>("route", "b.example"));
        Assert.EndsWith("""
            mfrelay_time_seconds_bucket{route="b.example",le="0.5"} 2
            mfrelay_time_seconds_bucket{route="b.example",le="1"} 3
            mfrelay_time_seconds_bucket{route="b.example",le="+Inf"} 4
            mfrelay_time_seconds_sum{route="b.example"} 9.5
            mfrelay_time_seconds_count{route="b.example"} 4

            """, _text.Read(), StringComparison.Ordinal);
    }

    [Fact]
    public void Instruments_of_another_meter_are_not_shown()
    {
        using var other = new Meter("mfrelay");
        other.CreateObservableGauge("mfrelay.other", () => 1.0);
        Assert.Equal("", _text.Read());
    }

    [Fact]
    public void Counting_and_measuring_allocate_nothing()
    {
        Histogram<double> time = _meter.CreateHistogram("mfrelay.time", "s", "Time", [new(MetricsText.ByRoute, true)],
            new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.5, 1] });
        var tally = new Tally();
        void Count()
        {
            tally.Add();
            time.Record(0.1, new KeyValuePair<string, object?>("route", "a.example"));
        }

        for (int i = 0; i < 1000; i++)
            Count();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
            Count();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
