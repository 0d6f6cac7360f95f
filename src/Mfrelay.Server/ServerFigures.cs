using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>What mf-smtp-server counts, always; what takes more than a few nanoseconds only while somebody reads metrics.</summary>
internal sealed class ServerFigures
{
    private readonly Tally[] _refused = [new(), new(), new(), new()];

    public Tally Accepted { get; } = new();
    public Tally Octets { get; } = new();
    public Tally Connections { get; } = new();

    /// <summary>Recipients of accepted messages by registered domain; kept while <see cref="AcceptTime"/> is.</summary>
    public ConcurrentDictionary<string, Tally> Recipients { get; } = new(StringComparer.Ordinal);

    /// <summary>From the first octet of mail data to the 250; null: nobody asks.</summary>
    public Histogram<double>? AcceptTime { get; set; }

    public long RefusedInAll => _refused.Sum(tally => tally.Value);

    public void AcceptedMessage(Envelope envelope, long size, TimeSpan time, RouteTable routes)
    {
        Accepted.Add();
        Octets.Add(size);
        if (AcceptTime is not { } histogram)
            return;
        histogram.Record(time.TotalSeconds);
        foreach (Recipient recipient in envelope.Recipients)
            Recipients.GetOrAdd(routes.ForAddress(recipient.ForwardPath)?.Name ?? "-", static _ => new Tally()).Add();
    }

    /// <param name="inData">The answer to mail data, and not to a command.</param>
    public void Refused(Reply reply, bool inData) => _refused[Index(reply.Code >= 500, inData)].Add();

    /// <param name="forGood">5yz, and not 4yz.</param>
    public long RefusedAs(bool forGood, bool inData) => _refused[Index(forGood, inData)].Value;

    private static int Index(bool forGood, bool inData) => (forGood ? 2 : 0) + (inData ? 1 : 0);
}
