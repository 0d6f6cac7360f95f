using Mfrelay.Tests;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Mail_goes_where_the_MX_records_say : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly DnsPeer _dns;
    private readonly Relay _relay;

    public Mail_goes_where_the_MX_records_say()
    {
        _dns = new DnsPeer($"""
            two.example MX 60 10 dead.two.example
            two.example MX 60 20 live.two.example
            dead.two.example A 60 127.250.250.250
            live.two.example A 60 {_sink.EndPoint.Address}
            direct.example A 60 {_sink.EndPoint.Address}
            none.example MX 60 0 .
            """);
        _relay = new Relay(_sink.EndPoint);
        _relay.WriteConfig(_relay.ConfigOf($"dns_servers = [\"{_dns.Address}\"]\nretry = [\"1s\"]") + $"""
            [[mail_server]]
            domain = "*"
            host = "mx"
            port = {_sink.EndPoint.Port}
            """);
    }

    [Fact]
    public async Task To_the_next_best_when_the_best_is_dead_and_to_the_domain_itself_without_any()
    {
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await _relay.SendAsync("to two domains", "a@two.example", "b@direct.example", "c@two.example");
        await _sink.WaitForAsync(2);
        Assert.Equal(
            ["a@two.example c@two.example", "b@direct.example"],
            _sink.Mail.Select(mail => string.Join(' ', mail.To)).Order(StringComparer.Ordinal));
        await client.WaitForLineAsync("INFO_b102 .* to=<a@two.example> host=live.two.example ");
    }

    [Fact]
    public async Task And_back_to_the_sender_when_the_domain_takes_no_mail_or_does_not_exist()
    {
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await _relay.SendAsync("nowhere", "a@none.example", "b@unknown.example");
        await client.WaitForLineAsync("WARN_b108 .* to=<a@none.example> .*status=5.1.10");
        await client.WaitForLineAsync("WARN_b108 .* to=<b@unknown.example> .*status=5.1.2");
        // The bounces go to a domain that does not exist either.
        await client.WaitForLineAsync("WARN_b110 .* to=<sender@example.org> status=5.1.2");
        Assert.Empty(_sink.Mail);
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
        _dns.Dispose();
    }
}
