using System.Text.Json;
using System.Text.Json.Serialization;

namespace Mfrelay.Core;

/// <summary>A count since the start of the process that only grows. Safe for use by several threads, allocates nothing.</summary>
internal sealed class Tally
{
    private long _value;

    public long Value => Interlocked.Read(ref _value);

    public void Add(long count = 1) => Interlocked.Add(ref _value, count);
}

/// <summary>How often something happened.</summary>
/// <param name="Total">Since the start.</param>
/// <param name="PerSecond">Over the last ten seconds.</param>
/// <param name="PerMinute">Over the last minute.</param>
/// <param name="PerMinuteOfFive">Over the last five minutes.</param>
internal sealed record Figure(string Name, long Total, double PerSecond, double PerMinute, double PerMinuteOfFive)
{
    public const string Accepted = "accepted";
    public const string Refused = "refused";
    public const string Delivered = "delivered";
    public const string Deferred = "deferred";
    public const string Failed = "failed";
}

/// <summary>An alert that is up, as a command shows it.</summary>
internal sealed record RaisedAlert(string Rule, string Subject, string Value, DateTimeOffset Since);

/// <summary>
/// What a daemon says of itself: a file in the run directory beside its pid, written anew as long as there is news, for "mfrelay
/// status" and "mfrelay top". A file and not a row: a turn of the lease each second is more than a rate is worth.
/// </summary>
internal sealed record DaemonFigures(
    DateTimeOffset Time, DateTimeOffset Started, int Sessions, IReadOnlyList<Figure> Figures, IReadOnlyList<RaisedAlert> Alerts)
{
    public Figure? Of(string name) => Figures.FirstOrDefault(figure => string.Equals(figure.Name, name, StringComparison.Ordinal));

    public static string FileOf(string runDirectory, string daemon) => Path.Combine(runDirectory, $"{daemon}.figures");

    /// <summary>Null: there is none, or none that can be read.</summary>
    public static DaemonFigures? Read(string runDirectory, string daemon)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllText(FileOf(runDirectory, daemon)), FiguresJson.Default.DaemonFigures);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    /// <summary>Under another name first: a reader sees all of it or the one before.</summary>
    public void Write(string runDirectory, string daemon)
    {
        string file = FileOf(runDirectory, daemon), unfinished = $"{file}.new";
        File.WriteAllText(unfinished, JsonSerializer.Serialize(this, FiguresJson.Default.DaemonFigures));
        File.Move(unfinished, file, overwrite: true);
    }
}

/// <summary>The form of that file, made by the compiler: compiled ahead, a daemon cannot look into its types to write them.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(DaemonFigures))]
internal sealed partial class FiguresJson : JsonSerializerContext;

/// <summary>The last five minutes of a count, by the second.</summary>
internal sealed class Rates
{
    private const int Kept = 301;

    private readonly Queue<(TimeSpan At, long Total)> _samples = new(Kept + 1);

    public void Add(TimeSpan at, long total)
    {
        _samples.Enqueue((at, total));
        if (_samples.Count > Kept)
            _samples.Dequeue();
    }

    /// <summary>How many in a second, over the given time or what there is of it.</summary>
    public double PerSecond(TimeSpan over)
    {
        if (_samples.Count < 2)
            return 0;
        (TimeSpan end, long total) = _samples.Last();
        (TimeSpan At, long Total) from = _samples.First(sample => end - sample.At <= over);
        return end > from.At ? (total - from.Total) / (end - from.At).TotalSeconds : 0;
    }
}

/// <summary>Writes the figures of a daemon: once in a second while something happens, now and then until the last rate is 0, and then no more.</summary>
/// <param name="counts">What is counted: name and total.</param>
internal sealed class FigureKeeper(string daemon, string runDirectory, TimeProvider time, Func<IReadOnlyList<(string Name, long Total)>> counts,
    Func<int> sessions, Func<IReadOnlyList<RaisedAlert>> alerts)
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan QuietPeriod = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan LastSeconds = TimeSpan.FromSeconds(10);

    /// <summary>After so long without news the rate of the last seconds is 0.</summary>
    private static readonly TimeSpan Echo = LastSeconds + (2 * Period);

    private readonly DateTimeOffset _started = time.GetUtcNow();
    private readonly Dictionary<string, Rates> _rates = new(StringComparer.Ordinal);
    private IReadOnlyList<(string, long)> _counted = [];
    private TimeSpan _lastNews;
    private TimeSpan _lastWrite;
    private DaemonFigures? _written;

    public async Task RunAsync(CancellationToken cancel)
    {
        using var timer = new PeriodicTimer(Period, time);
        try
        {
            do
                Look();
            while (await timer.WaitForNextTickAsync(cancel));
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
        File.Delete(DaemonFigures.FileOf(runDirectory, daemon));
    }

    internal void Look()
    {
        TimeSpan now = time.GetElapsedTime(0);
        IReadOnlyList<(string Name, long Total)> counted = counts();
        foreach ((string name, long total) in counted)
            RatesOf(name).Add(now, total);
        (int open, IReadOnlyList<RaisedAlert> up) = (sessions(), alerts());
        if (!counted.SequenceEqual(_counted) || _written?.Sessions != open || !_written.Alerts.SequenceEqual(up))
            (_counted, _lastNews) = (counted, now);
        if (now - _lastNews > Echo && now - _lastWrite < QuietPeriod)
            return;
        Figure[] figures = [.. counted.Select(count => FigureOf(count.Name, count.Total))];
        _lastWrite = now;
        if (_written is { } last && last.Sessions == open && last.Figures.SequenceEqual(figures) && last.Alerts.SequenceEqual(up))
            return;
        try
        {
            _written = new DaemonFigures(time.GetUtcNow(), _started, open, figures, up);
            _written.Write(runDirectory, daemon);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _written = null; // no room: an operator sees older figures
        }
    }

    private Figure FigureOf(string name, long total)
    {
        double Over(TimeSpan span, int of) => Math.Round(of * RatesOf(name).PerSecond(span), 1);
        return new Figure(name, total, Over(LastSeconds, of: 1), Over(TimeSpan.FromMinutes(1), of: 60), Over(TimeSpan.FromMinutes(5), of: 60));
    }

    private Rates RatesOf(string name)
    {
        if (!_rates.TryGetValue(name, out Rates? rates))
            _rates[name] = rates = new Rates();
        return rates;
    }
}
