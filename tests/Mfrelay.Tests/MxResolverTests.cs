using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class MxResolverTests : IDisposable
{
    private const string Zone = """
        two.example MX 300 20 b.two.example
        two.example MX 300 10 a.two.example
        a.two.example A 60 192.0.2.1
        a.two.example AAAA 60 2001:db8::1
        b.two.example A 300 192.0.2.2
        b.two.example A 300 192.0.2.3
        plain.example A 300 192.0.2.4
        null.example MX 300 0 .
        alias.example CNAME 300 two.example
        cname.example CNAME 300 plain.example
        fail.example FAIL 0 0
        silent.example SILENT 0 0
        empty.example TXT 300 x
        nohost.example MX 300 10 gone.example
        half.example MX 300 10 fail.example
        half.example MX 300 20 plain.example
        dead.example MX 300 10 fail.example
        self.example MX 300 10 relay.example
        backup.example MX 300 5 a.two.example
        backup.example MX 300 10 RELAY.example
        backup.example MX 300 10 b.two.example
        backup.example MX 300 30 plain.example
        xn--wgv71a.example A 300 192.0.2.9
        many.example MX 300 10 m1.example
        many.example MX 300 10 m2.example
        many.example MX 300 10 m3.example
        m1.example A 300 192.0.2.11
        m2.example A 300 192.0.2.12
        m3.example A 300 192.0.2.13
        """;

    private readonly DnsPeer _dns = new(Zone);
    private readonly VirtualTime _time = new();

    public void Dispose() => _dns.Dispose();

    [Theory]
    [InlineData("two.example", "10 a.two.example 192.0.2.1,2001:db8::1; 20 b.two.example 192.0.2.2,192.0.2.3")]
    [InlineData("TWO.example", "10 a.two.example 192.0.2.1,2001:db8::1; 20 b.two.example 192.0.2.2,192.0.2.3")]
    [InlineData("plain.example", "0 plain.example 192.0.2.4")]
    [InlineData("alias.example", "10 a.two.example 192.0.2.1,2001:db8::1; 20 b.two.example 192.0.2.2,192.0.2.3")]
    [InlineData("cname.example", "0 cname.example 192.0.2.4")]
    [InlineData("half.example", "20 plain.example 192.0.2.4")]
    [InlineData("backup.example", "5 a.two.example 192.0.2.1,2001:db8::1")]
    [InlineData("日本.example", "0 xn--wgv71a.example 192.0.2.9")]
    [InlineData("[192.0.2.7]", "0 192.0.2.7 192.0.2.7")]
    [InlineData("[IPv6:2001:db8::7]", "0 2001:db8::7 2001:db8::7")]
    [InlineData("null.example", "connect: the domain takes no mail F 5.1.10")]
    [InlineData("nothere.example", "connect: the domain does not exist: MX nothere.example: NotExistentDomain F 5.1.2")]
    [InlineData("fail.example", "connect: no answer from DNS: MX fail.example: ServerFailure D 4.4.3")]
    [InlineData("silent.example", "connect: no answer from DNS: MX silent.example: ConnectionTimeout D 4.4.3")]
    [InlineData("dead.example", "connect: no answer from DNS: * D 4.4.3")]
    [InlineData("empty.example", "connect: no mail server of the domain has an address F 5.4.4")]
    [InlineData("nohost.example", "connect: no mail server of the domain has an address F 5.4.4")]
    [InlineData("self.example", "connect: the domain's MX records lead back to this relay F 5.4.6")]
    [InlineData("no such..name", "connect: the domain does not exist F 5.1.2")]
    public async Task DNS_says_where_mail_goes_or_why_not(string domain, string expected)
    {
        MxAnswer answer = await Resolver().ResolveAsync(domain, TestContext.Current.CancellationToken);
        string actual = Text(answer);
        string[] parts = expected.Split('*');
        Assert.StartsWith(parts[0], actual, StringComparison.Ordinal);
        Assert.EndsWith(parts[^1], actual, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(AddressOrder.Ipv4First, "192.0.2.1,2001:db8::1")]
    [InlineData(AddressOrder.Ipv6First, "2001:db8::1,192.0.2.1")]
    [InlineData(AddressOrder.Ipv4, "192.0.2.1")]
    [InlineData(AddressOrder.Ipv6, "2001:db8::1")]
    public async Task The_setting_orders_the_addresses(AddressOrder order, string expected)
    {
        MxAnswer answer = await Resolver(order).ResolveAsync("two.example", TestContext.Current.CancellationToken);
        Assert.Equal(expected, string.Join(',', answer.Candidates[0].Addresses));
    }

    [Fact]
    public async Task Answers_are_kept_as_long_as_their_shortest_TTL_and_failures_of_DNS_not_at_all()
    {
        MxResolver resolver = Resolver();
        await Twice("two.example", 0);
        _time.Advance(TimeSpan.FromSeconds(61));
        await Twice("two.example", 5);
        int before = _dns.Questions.Count;
        await resolver.ResolveAsync("fail.example", TestContext.Current.CancellationToken);
        await resolver.ResolveAsync("fail.example", TestContext.Current.CancellationToken);
        Assert.True(_dns.Questions.Count >= before + 2);

        async Task Twice(string domain, int asked)
        {
            await resolver.ResolveAsync(domain, TestContext.Current.CancellationToken);
            await resolver.ResolveAsync(domain, TestContext.Current.CancellationToken);
            Assert.Equal(asked + 5, _dns.Questions.Count);
        }
    }

    [Fact]
    public async Task Mail_servers_of_one_preference_take_turns_by_chance()
    {
        MxResolver resolver = Resolver();
        var first = new HashSet<string>();
        for (int i = 0; i < 100; i++)
            first.Add((await resolver.ResolveAsync("many.example", TestContext.Current.CancellationToken)).Candidates[0].Host);
        Assert.Equal(3, first.Count);
    }

    [Fact]
    public async Task Cancelling_throws()
    {
        using var stop = new CancellationTokenSource(50);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Resolver().ResolveAsync("silent.example", stop.Token));
    }

    private MxResolver Resolver(AddressOrder order = AddressOrder.Ipv4First) => new(
        new Settings
        {
            HostName = "relay.example",
            Client = new ClientSettings { DnsServers = [_dns.Address], DnsTimeout = TimeSpan.FromMilliseconds(250), AddressOrder = order },
        },
        _time, new Random(1));

    private static string Text(MxAnswer answer)
    {
        if (answer.Outcome.IsOpen)
            return string.Join("; ", answer.Candidates.Select(item => $"{item.Preference} {item.Host} {string.Join(',', item.Addresses)}"));
        Assert.Empty(answer.Candidates);
        Verdict verdict = ReplyClassifier.Classify(answer.Outcome);
        return $"{answer.Outcome} {verdict.Disposition.ToString()[0]} {verdict.Status}";
    }
}
