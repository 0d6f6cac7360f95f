using System.Net;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Who_may_not_relay_is_refused
{
    private static readonly IPEndPoint Nowhere = new(IPAddress.Loopback, 9);

    [Fact]
    public async Task A_domain_that_no_mail_server_is_registered_for_hears_550_5_1_2()
    {
        await using var relay = new Relay(Nowhere, domain: "example.com");
        Daemon server = await relay.StartServerAsync();
        using Sender sender = await relay.ConnectAsync();
        await sender.HelloAsync();
        await sender.SayAsync("MAIL FROM:<a@example.org>");
        Assert.StartsWith("550 5.1.2 ", await sender.SayAsync("RCPT TO:<b@elsewhere.example>"), StringComparison.Ordinal);
        Assert.StartsWith("550 5.1.2 ", await sender.SayAsync("RCPT TO:<b@sub.example.com>"), StringComparison.Ordinal);
        Assert.StartsWith("250 2.1.5 ", await sender.SayAsync("RCPT TO:<b@EXAMPLE.com>"), StringComparison.Ordinal);
        await server.WaitForLineAsync("INFO_a102 .*550 5.1.2");
    }

    [Fact]
    public async Task A_sender_outside_the_allowed_networks_hears_550_5_7_1()
    {
        await using var relay = new Relay(Nowhere, server: "allow = [\"127.0.0.2/32\"]");
        await relay.StartServerAsync();
        using Sender sender = await relay.ConnectAsync();
        await sender.HelloAsync();
        Assert.StartsWith("550 5.7.1 ", await sender.SayAsync("MAIL FROM:<a@example.org>"), StringComparison.Ordinal);
        Assert.StartsWith("503 ", await sender.SayAsync("RCPT TO:<b@example.com>"), StringComparison.Ordinal);
    }
}
