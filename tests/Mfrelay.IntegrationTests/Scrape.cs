using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Xunit;

namespace Mfrelay.IntegrationTests;

/// <summary>One reading of a metrics endpoint, by a parser of the text format 0.0.4 that lets nothing pass that Prometheus would not.</summary>
internal sealed partial class Scrape
{
    private readonly Dictionary<string, double> _series = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _types = new(StringComparer.Ordinal);

    private Scrape(string text)
    {
        string family = "";
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        foreach (string line in text[..^1].Split('\n'))
        {
            if (Comment().Match(line) is { Success: true } comment)
            {
                family = comment.Groups["name"].Value;
                if (comment.Groups["kind"].ValueSpan is "TYPE")
                {
                    Assert.Contains(comment.Groups["rest"].Value, (string[])["counter", "gauge", "histogram"]);
                    Assert.True(_types.TryAdd(family, comment.Groups["rest"].Value), $"{family} is there twice");
                }
                continue;
            }
            Match sample = Sample().Match(line);
            Assert.True(sample.Success, line);
            string name = sample.Groups["name"].Value;
            Assert.Equal(family, _types[family] == "histogram" ? HistogramSuffix().Replace(name, "") : name);
            Assert.Equal(_types[family] == "counter", name.EndsWith("_total", StringComparison.Ordinal));
            Assert.True(_series.TryAdd(line[..line.LastIndexOf(' ')], ValueOf(sample.Groups["value"].Value)), $"twice: {line}");
        }
    }

    /// <summary>Of metrics, not of series: histograms without their suffixes.</summary>
    public IEnumerable<string> Names => _types.Keys;

    /// <summary>Of a series, written as in the text.</summary>
    public double this[string series] => _series.TryGetValue(series, out double value) ? value
        : throw new KeyNotFoundException($"{series} is not among\n{string.Join('\n', _series.Keys)}");

    public bool Has(string series) => _series.ContainsKey(series);

    public static async Task<Scrape> ReadAsync(IPEndPoint endPoint)
    {
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        using HttpResponseMessage response = await http.GetAsync(new Uri($"http://{endPoint}/metrics"));
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", response.Content.Headers.ContentType!.ToString());
        return new Scrape(await response.Content.ReadAsStringAsync());
    }

    /// <summary>Reads until it is as wanted.</summary>
    public static async Task<Scrape> UntilAsync(IPEndPoint endPoint, Func<Scrape, bool> wanted)
    {
        long began = TimeProvider.System.GetTimestamp();
        while (true)
        {
            Scrape scrape = await ReadAsync(endPoint);
            if (wanted(scrape) || TimeProvider.System.GetElapsedTime(began) > TimeSpan.FromSeconds(15))
                return scrape;
            await Task.Delay(100);
        }
    }

    private static double ValueOf(string text) => text switch
    {
        "+Inf" => double.PositiveInfinity,
        _ => double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture),
    };

    [GeneratedRegex("^# (?<kind>HELP|TYPE) (?<name>[a-z_:][a-z0-9_:]*) (?<rest>.+)$", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex Comment();

    [GeneratedRegex("""^(?<name>[a-z_:][a-z0-9_:]*)(\{[a-z_]+="([^"\\]|\\["\\n])*"(,[a-z_]+="([^"\\]|\\["\\n])*")*\})? (?<value>\+Inf|NaN|-?[0-9.]+(E[+-]?[0-9]+)?)$""", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex Sample();

    [GeneratedRegex("_(bucket|sum|count)$", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex HistogramSuffix();
}
