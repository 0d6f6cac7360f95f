using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using DnsClient;
using DnsClient.Protocol;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>A mail server that may be tried for a domain, on port 25.</summary>
/// <param name="Host">For TLS and for the log; without a dot at its end.</param>
/// <param name="Addresses">At least one, in the order in which to try them.</param>
internal sealed record MxCandidate(string Host, int Preference, IReadOnlyList<IPAddress> Addresses);

/// <summary>What DNS says of where mail for a domain goes.</summary>
/// <param name="Candidates">In the order in which to try them; empty when there is an outcome.</param>
/// <param name="Outcome">Open when there are candidates, otherwise a failure at the stage of connecting.</param>
internal sealed record MxAnswer(IReadOnlyList<MxCandidate> Candidates, Outcome Outcome);

/// <summary>
/// Finds the mail servers of a domain (RFC 5321 5.1): its MX records by preference, those of one preference in an order of chance; without any, the
/// domain's own addresses. Answers are kept as long as their TTL says, within limits. May be used by several threads.
/// <code>
/// no such domain (NXDOMAIN)                 failed    5.1.2
/// null MX (RFC 7505)                        failed    5.1.10
/// our own host among the best MX            failed    5.4.6     worse or equal ones than our own are cut off
/// no MX and no address, or MX without one   failed    5.4.4
/// SERVFAIL, refused, no answer in time      deferred  4.4.3
/// </code>
/// </summary>
internal sealed class MxResolver
{
    private const int MaxHosts = 10;
    private const int MaxKept = 10_000;
    private static readonly TimeSpan LongestKept = TimeSpan.FromHours(1);
    private static readonly TimeSpan ShortestKept = TimeSpan.FromSeconds(5);

    /// <summary>For what does not exist, where RFC 2308 would allow more: domains get repaired.</summary>
    private static readonly TimeSpan FailureKept = TimeSpan.FromMinutes(1);

    private readonly LookupClient _dns;
    private readonly string _self;
    private readonly AddressOrder _order;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly Dictionary<string, (Found Found, DateTimeOffset Until)> _kept = new(StringComparer.OrdinalIgnoreCase);

    public MxResolver(Settings settings, TimeProvider time, Random? random = null)
    {
        // Never the library's own choice for a machine without resolv.conf, which is a public service.
        NameServer[] servers = settings.Client.DnsServers.Count > 0
            ? [.. settings.Client.DnsServers.Select(address => new NameServer(address))]
            : [.. NameServer.ResolveNameServers(skipIPv6SiteLocal: true, fallbackToGooglePublicDns: false)];
        _dns = new LookupClient(new LookupClientOptions(servers.Length > 0 ? servers : [new NameServer(IPAddress.Loopback)])
        {
            UseCache = false,
            ThrowDnsErrors = false,
            Timeout = settings.Client.DnsTimeout,
            Retries = 1,
            UseTcpFallback = true,
        });
        (_self, _order, _time, _random) = (settings.HostName, settings.Client.AddressOrder, time, random ?? Random.Shared);
    }

    /// <summary>Throws for cancellation alone.</summary>
    public async Task<MxAnswer> ResolveAsync(string domain, CancellationToken cancellation)
    {
        if (LiteralOf(domain) is { } literal)
            return new MxAnswer([new MxCandidate(literal.ToString(), 0, [literal])], default);
        if (AsciiOf(domain) is not { } name)
            return Failed(Failure.NoSuchDomain).Answer;
        DateTimeOffset now = _time.GetUtcNow();
        Found? found = null;
        lock (_kept)
        {
            if (_kept.TryGetValue(name, out (Found Found, DateTimeOffset Until) kept) && kept.Until > now)
                found = kept.Found;
        }
        if (found is null)
        {
            found = await FindAsync(name, cancellation);
            Keep(name, found, now);
        }
        return new MxAnswer(InOrder(found.Answer.Candidates), found.Answer.Outcome);
    }

    private async Task<Found> FindAsync(string name, CancellationToken cancellation)
    {
        DnsAnswer answer = await AskAsync(name, QueryType.MX, cancellation);
        if (answer.Failure != Failure.None)
            return Failed(answer.Failure, answer.Detail);
        // A CNAME's target is in the answer with its own MX records (RFC 5321 5.1: "processed as if it were the initial name").
        MxRecord[] records = [.. answer.Records.OfType<MxRecord>()];
        if (records is [{ Preference: 0, Exchange.Value: "." }])
            return Failed(Failure.NullMx);
        // No MX: as if the domain were its own, preference 0. Does not hold for MX records that cannot be used (RFC 5321 5.1).
        (string Host, int Preference)[] hosts = records.Length == 0
            ? [(name, 0)]
            : [.. records.Select(record => (Host: record.Exchange.Value.TrimEnd('.'), (int)record.Preference)).Where(item => item.Host.Length > 0)];
        int self = hosts.Where(item => item.Host.Equals(_self, StringComparison.OrdinalIgnoreCase)).Select(item => item.Preference).DefaultIfEmpty(int.MaxValue).Min();
        hosts = [.. hosts.Where(item => item.Preference < self)];
        if (hosts.Length == 0)
            return Failed(self < int.MaxValue ? Failure.MxLoop : Failure.NoMailServer);
        return await FindAddressesAsync(hosts, answer.Kept, cancellation);
    }

    private async Task<Found> FindAddressesAsync((string Host, int Preference)[] hosts, TimeSpan kept, CancellationToken cancellation)
    {
        var candidates = new List<MxCandidate>();
        DnsAnswer? unknown = null;
        _random.Shuffle(hosts); // which ones are left out where there are too many of one preference
        foreach ((string host, int preference) in hosts.OrderBy(item => item.Preference).Take(MaxHosts))
        {
            var addresses = new List<IPAddress>();
            foreach (QueryType type in Types)
            {
                DnsAnswer answer = await AskAsync(host, type, cancellation);
                if (answer.Failure == Failure.DnsFailed)
                    unknown = answer;
                addresses.AddRange(answer.Records.OfType<AddressRecord>().Select(record => record.Address));
                kept = answer.Kept < kept ? answer.Kept : kept;
            }
            if (addresses.Count > 0)
                candidates.Add(new MxCandidate(host, preference, addresses));
        }
        if (candidates.Count > 0)
            return new Found(new MxAnswer(candidates, default), unknown is null ? kept : ShortestKept);
        return unknown is { } failed ? Failed(Failure.DnsFailed, failed.Detail) : Failed(Failure.NoMailServer);
    }

    private QueryType[] Types => _order switch
    {
        AddressOrder.Ipv4First => [QueryType.A, QueryType.AAAA],
        AddressOrder.Ipv6First => [QueryType.AAAA, QueryType.A],
        AddressOrder.Ipv4 => [QueryType.A],
        AddressOrder.Ipv6 => [QueryType.AAAA],
    };

    private async Task<DnsAnswer> AskAsync(string name, QueryType type, CancellationToken cancellation)
    {
        try
        {
            IDnsQueryResponse response = await _dns.QueryAsync(name, type, cancellationToken: cancellation);
            Failure failure = response.Header.ResponseCode switch
            {
                DnsHeaderResponseCode.NoError => Failure.None,
                DnsHeaderResponseCode.NotExistentDomain => Failure.NoSuchDomain,
                _ => Failure.DnsFailed,
            };
            TimeSpan kept = response.Answers.Count == 0 ? FailureKept : TimeSpan.FromSeconds(response.Answers.Min(record => record.InitialTimeToLive));
            return new DnsAnswer(response.Answers, failure, kept, $"{type} {name}: {response.Header.ResponseCode}");
        }
        catch (DnsResponseException e)
        {
            cancellation.ThrowIfCancellationRequested();
            return new DnsAnswer([], Failure.DnsFailed, ShortestKept, $"{type} {name}: {e.Code}");
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            cancellation.ThrowIfCancellationRequested();
            return new DnsAnswer([], Failure.DnsFailed, ShortestKept, $"{type} {name}: {(e as SocketException)?.Message ?? "timed out"}");
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException)
        {
            return new DnsAnswer([], Failure.NoSuchDomain, FailureKept, $"{type} {name}: not a name of DNS");
        }
    }

    /// <summary>Those of one preference in a new order each time, so that they share the load (RFC 5321 5.1).</summary>
    private MxCandidate[] InOrder(IReadOnlyList<MxCandidate> candidates)
    {
        MxCandidate[] all = [.. candidates];
        _random.Shuffle(all);
        return [.. all.OrderBy(candidate => candidate.Preference)];
    }

    private void Keep(string name, Found found, DateTimeOffset now)
    {
        TimeSpan kept = found.Answer.Outcome.Failure == Failure.DnsFailed ? TimeSpan.Zero
            : found.Kept > LongestKept ? LongestKept
            : found.Kept < ShortestKept ? ShortestKept
            : found.Kept;
        lock (_kept)
        {
            if (_kept.Count >= MaxKept)
                _kept.Clear();
            _kept[name] = (found, now + kept);
        }
    }

    /// <summary>"[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 4.1.3).</summary>
    private static IPAddress? LiteralOf(string domain) =>
        domain is not ['[', .., ']'] ? null
        : domain.StartsWith("[IPv6:", StringComparison.OrdinalIgnoreCase) ? HostName.ParseAddress(domain.AsSpan(6, domain.Length - 7))
        : HostName.ParseAddress(domain.AsSpan(1, domain.Length - 2));

    /// <summary>U-labels as A-labels (RFC 5890); null for what is no domain.</summary>
    private static string? AsciiOf(string domain)
    {
        try
        {
            string name = Ascii.IsValid(domain) ? domain : new IdnMapping().GetAscii(domain);
            return HostName.IsMailDomain(name) ? name : null;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    private static Found Failed(Failure failure, string? detail = null) =>
        new(new MxAnswer([], Outcome.Of(Stage.Connect, failure, detail: detail)), FailureKept);

    private sealed record Found(MxAnswer Answer, TimeSpan Kept);

    private readonly record struct DnsAnswer(IReadOnlyList<DnsResourceRecord> Records, Failure Failure, TimeSpan Kept, string Detail);
}
