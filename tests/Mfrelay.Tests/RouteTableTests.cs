using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class RouteTableTests
{
    private static readonly RouteTable Table = new(
        new[] { "example.com", "*.example.com", "*.deep.example.com", "Example.COM", "*" }
            .Select((domain, i) => new MailServer { Domain = domain, Host = $"192.0.2.{i}" }));

    [Theory]
    [InlineData("a@example.com", "example.com")]
    [InlineData("a@EXAMPLE.com", "example.com")]
    [InlineData("a@x.example.com", "*.example.com")]
    [InlineData("a@x.y.example.com", "*.example.com")]
    [InlineData("a@deep.example.com", "*.example.com")]
    [InlineData("a@x.Deep.example.com", "*.deep.example.com")]
    [InlineData("a@notexample.com", "*")]
    [InlineData("\"a@example.com\"@example.net", "*")]
    [InlineData("a@[192.0.2.1]", "*")]
    [InlineData("a@Example.com.", "example.com")]
    [InlineData("a@x.example.com.", "*.example.com")]
    [InlineData("postmaster", "*")]
    [InlineData("", null)]
    public void The_most_exact_entry_wins(string forwardPath, string? route) => Assert.Equal(route, Table.ForAddress(forwardPath)?.Name);

    [Theory]
    [InlineData("example.com", "a.example=mx", "example.com=192.0.2.1")]
    [InlineData("example.com", "example.com=192.0.2.1", "*=mx")]
    [InlineData("*", "example.com=192.0.2.1", "*=192.0.2.2")]
    [InlineData(null, "*=mx")]
    public void Postmaster_alone_goes_to_a_mail_server_that_the_config_names(string? route, params string[] entries)
    {
        var table = new RouteTable(entries.Select(entry => new MailServer { Domain = entry.Split('=')[0], Host = entry.Split('=')[1] }));
        Assert.Equal(route, table.ForAddress("postmaster")?.Name);
        Assert.Equal(route ?? "postmaster", table.NameFor("postmaster"));
    }

    [Fact]
    public void Entries_of_one_domain_are_one_route_in_the_order_of_the_config() =>
        Assert.Equal("192.0.2.0 192.0.2.3", string.Join(' ', Table.Named("example.com")!.MailServers.Select(server => server.Host)));

    [Fact]
    public void A_message_is_split_by_route_and_every_recipient_keeps_its_number()
    {
        var table = new RouteTable([new MailServer { Domain = "example.com", Host = "h" }]);
        Envelope envelope = State.EnvelopeOf(new QueueId(1), "a@example.com", "b@Other.example", "c@EXAMPLE.com", "d@other.example.", "postmaster");
        Delivery[] deliveries = [.. table.Split(envelope, new SpoolPosition(2, 32), 7)];
        Assert.Equal("example.com other.example", string.Join(' ', deliveries.Select(delivery => delivery.Route)));
        Assert.Equal([new(0, "a@example.com"), new(2, "c@EXAMPLE.com"), new(4, "postmaster")], deliveries[0].Recipients);
        Assert.Equal([new(1, "b@Other.example"), new(3, "d@other.example.")], deliveries[1].Recipients);
        Assert.All(deliveries, delivery => Assert.Equal((new QueueId(1), new SpoolPosition(2, 32), 7L), (delivery.Id, delivery.Position, delivery.Size)));
    }
}
