using System.Text.Json;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class RouteCommandTests : IDisposable
{
    private readonly CommandRun _run = new("""
        mail_server = [
          { domain = "example.com", host = "10.0.0.1" },
          { domain = "example.com", host = "10.0.0.2" },
          { domain = "*.example.org", host = "10.0.0.3", when_down = "queue" },
          { domain = "down.example", host = "10.0.0.4" },
        ]
        """);

    public void Dispose() => _run.Dispose();

    [Fact]
    public async Task A_reached_route_is_250_and_shows_both_views_of_each_mail_server()
    {
        await SeedAsync();
        Assert.Equal(0, _run.Invoke("route", "user@Example.COM"));
        Assert.Equal(
            """
            recipient        user@Example.COM
            route            example.com
            largest message  3MB
            when_down        refuse
            next             10.0.0.1:25 (first of the rotation; whose turn it is now, only the running mf-smtp-client knows)
            reply            250 2.1.5 (accepted)

            MAIL SERVER  SERVER   CLIENT      WHEN_DOWN  LAST ERROR
            10.0.0.1:25  reached  check list  refuse     timed out
            10.0.0.2:25  down     ok          refuse     Connection refused

            """,
            _run.Output);
    }

    [Theory]
    [InlineData("u@example.com", "", 250, "2.1.5", "accepted", 0)]
    [InlineData("u@nowhere.example", "", 550, "5.1.2", "no_route", 1)]
    [InlineData("u@down.example", "", 421, "4.4.1", "recipient_down", 1)]
    [InlineData("u@a.example.org", "", 250, "2.1.5", "accepted", 0)]
    [InlineData("u@example.com", "s@down.example", 421, "4.4.1", "sender_down", 1)]
    [InlineData("u@example.com", "s@elsewhere.example", 250, "2.1.5", "accepted", 0)]
    public async Task Json_says_which_reply_the_sender_would_get(string to, string from, int code, string status, string reason, int exit)
    {
        await SeedAsync();
        Assert.Equal(exit, _run.Invoke("route", to, "--from", from, "--json"));
        JsonElement reply = _run.Json().GetProperty("reply");
        Assert.Equal((code, status, reason),
            (reply.GetProperty("code").GetInt32(), reply.GetProperty("status").GetString(), reply.GetProperty("reason").GetString()));
    }

    [Fact]
    public void S07_Not_yet_checked_is_421()
    {
        Assert.Equal(1, _run.Invoke("route", "u@example.com"));
        Assert.Contains("421 4.4.1 at RCPT (none of its mail servers is reached)", _run.Output, StringComparison.Ordinal);
    }

    private Task SeedAsync() => _run.SeedAsync(
        CommandRun.View(HealthOwner.Server, "10.0.0.1", HealthState.Reached) with { Announced = new Announcement("SIZE", 3_000_000) },
        CommandRun.View(HealthOwner.Client, "10.0.0.1", HealthState.Down) with { LastError = "timed out" },
        CommandRun.View(HealthOwner.Server, "10.0.0.2", HealthState.Down) with { LastError = "Connection refused" },
        CommandRun.View(HealthOwner.Server, "10.0.0.4", HealthState.Down, "down.example") with { LastError = "Connection refused" });
}
