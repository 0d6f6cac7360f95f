using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>S7, S8, S11, S12, C9, C10 and B5: what the two views mean for mail.</summary>
public sealed class RoutePolicyTests
{
    private static readonly MailServer[] Servers = [Server("10.0.0.1"), Server("10.0.0.2"), Server("10.0.0.3")];
    private static readonly Route Route = new("example.com", Servers);

    [Theory]
    [InlineData(HealthState.Unknown, true)]
    [InlineData(HealthState.Down, true)]
    [InlineData(HealthState.Reached, false)]
    public void S07_RefusedUnlessTheMailServerIsReachedAndNotYetCheckedIsNotReached(HealthState state, bool refused) =>
        Assert.Equal(refused, RoutePolicy.Refuses(new Route("example.com", [Servers[0]]), _ => state));

    [Fact]
    public void S07_WithSeveralMailServersOnlyWhenNoneIsReached()
    {
        Assert.False(RoutePolicy.Refuses(Route, server => server == Servers[2] ? HealthState.Reached : HealthState.Down));
        Assert.True(RoutePolicy.Refuses(Route, server => server == Servers[2] ? HealthState.Unknown : HealthState.Down));
    }

    [Fact]
    public void B05_OneEntryWithWhenDownQueueHasTheDomainAcceptedWhileAllAreDown()
    {
        var route = new Route("example.com", [Servers[0], Servers[1] with { WhenDown = WhenDown.Queue }]);
        Assert.False(RoutePolicy.Refuses(route, _ => HealthState.Down));
    }

    [Theory]
    [InlineData("example.com", true)]
    [InlineData("*.example.com", true)]
    [InlineData("*", false)]
    public void S08_TheSendersDomainCountsWhenItIsRegistered(string name, bool counts) =>
        Assert.Equal(counts, RoutePolicy.CountsForSender(new Route(name, Servers)));

    [Fact]
    public void S11_TheSmallestAnnouncedSizeOfThoseThatAreUpIsTheLimit()
    {
        Assert.Equal(2000, RoutePolicy.SizeLimit(Route, server => View(server, (HealthState.Reached, 3000), (HealthState.Reached, 2000), (HealthState.Down, 1000))));
        Assert.Equal(3000, RoutePolicy.SizeLimit(Route, server => View(server, (HealthState.Reached, 3000), (HealthState.Reached, 0), (HealthState.Unknown, 1000))));
    }

    [Fact]
    public void S11_NoAnnouncedSizeIsNoLimit()
    {
        Assert.Equal(long.MaxValue, RoutePolicy.SizeLimit(Route, server => View(server, (HealthState.Reached, 0), (HealthState.Down, 1), (HealthState.Down, 1))));
        Assert.Equal(long.MaxValue, RoutePolicy.SizeLimit(Route, _ => null));
    }

    [Fact]
    public void S12_C10_WhileTheServersViewIsReachedMailIsAcceptedAlthoughTheClientHasListedTheMailServer()
    {
        var server = new HealthStory(HealthOwner.Server);
        var client = new HealthStory(HealthOwner.Client);
        server.RunUntil("00:30");
        client.RunUntil("00:30");
        client.Happen(new HealthEvent.DeliveryFailed("timed out"));
        server.Happen(new HealthEvent.DeliveryFailed("timed out"));
        Assert.Equal(HealthState.Down, client.Health.State);
        Assert.False(RoutePolicy.Refuses(new Route("example.com", [HealthStory.MailServer]), _ => server.Health.State));
    }

    [Fact]
    public void C09_MailServersOfADomainAreTakenInTurn()
    {
        var rotation = new Rotation();
        Assert.Equal([0, 1, 2, 0, 1, 2, 0], Enumerable.Range(0, 7).Select(_ => Array.IndexOf(Servers, rotation.Take(Route))));
    }

    [Fact]
    public void C09_EachDomainHasARotationOfItsOwn()
    {
        var rotation = new Rotation();
        var other = new Route("example.org", Servers);
        rotation.Take(Route);
        rotation.Take(Route);
        Assert.Equal(Servers[0], rotation.Take(other));
        Assert.Equal(Servers[2], rotation.Take(Route));
    }

    [Fact]
    public void C09_TheRotationIsFairToWithinOneMessageAndGoesOnOverAReload()
    {
        var rotation = new Rotation();
        var count = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int i = 0; i < 1000; i++)
        {
            // A reload makes new objects of the same list.
            string host = rotation.Take(new Route("example.com", [.. Servers.Select(server => server with { })])).Host;
            count[host] = count.GetValueOrDefault(host) + 1;
            Assert.True(count.Count < 3 || count.Values.Max() - count.Values.Min() <= 1);
        }
        Assert.Equal(3, count.Count);
    }

    [Fact]
    public void C09_AReloadToFewerMailServersKeepsTheRotationInRange()
    {
        var rotation = new Rotation();
        rotation.Take(Route);
        rotation.Take(Route);
        var one = new Route("example.com", [Servers[1]]);
        Assert.Equal(Servers[1], rotation.Peek(one));
        Assert.Equal(Servers[1], rotation.Take(one));
        Assert.Equal(Servers[1], rotation.TakeUnlisted(one, _ => false));
    }

    [Fact]
    public void C09_FailoverNextSkipsListedOnesAndTheTurnMovesOnAllTheSame()
    {
        var rotation = new Rotation();
        Assert.Equal(Servers[1], rotation.TakeUnlisted(Route, server => server == Servers[0]));
        Assert.Equal(Servers[1], rotation.TakeUnlisted(Route, server => server == Servers[0]));
        Assert.Equal(Servers[2], rotation.TakeUnlisted(Route, server => server == Servers[0]));
        Assert.Null(rotation.TakeUnlisted(Route, _ => true));
    }

    private static MailServer Server(string host) => new() { Domain = "example.com", Host = host };

    private static MailServerHealth View(MailServer server, params (HealthState State, long Size)[] states)
    {
        (HealthState state, long size) = states[Array.IndexOf(Servers, server)];
        return MailServerHealth.Of(HealthOwner.Server, server, default) with { State = state, Announced = new Announcement("SIZE", size) };
    }
}
