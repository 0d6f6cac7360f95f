using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class UnknownKeyTests
{
    [Theory]
    [InlineData("", "", 0)]
    [InlineData("", "abc", 3)]
    [InlineData("listen", "listen", 0)]
    [InlineData("Listen", "listen", 0)]
    [InlineData("listne", "listen", 1)]
    [InlineData("lisen", "listen", 1)]
    [InlineData("liisten", "listen", 1)]
    [InlineData("lusten", "listen", 1)]
    [InlineData("kitten", "sitting", 3)]
    public void Distance_counts_slips_of_the_finger(string left, string right, int distance)
    {
        Assert.Equal(distance, UnknownKey.Distance(left, right));
        Assert.Equal(distance, UnknownKey.Distance(right, left));
    }

    [Theory]
    [InlineData("prot", "port")]
    [InlineData("hots", "host")]
    [InlineData("domian", "domain")]
    [InlineData("concurency", "concurrency")]
    [InlineData("zone", null)]
    [InlineData("transport", null)]
    public void The_nearest_key_is_offered_when_it_is_near(string key, string? nearest) =>
        Assert.Equal(nearest, UnknownKey.Nearest(key, ["domain", "host", "port", "concurrency"]));

    [Theory]
    [InlineData("hostname = \"x\"", "F:1: hostname: unknown key; did you mean host_name?")]
    [InlineData("[server]\nmax-errors = 1", "F:2: server.max-errors: unknown key; did you mean server.max_errors?")]
    [InlineData("server.max_error = 1", "F:1: server.max_error: unknown key; did you mean server.max_errors?")]
    [InlineData("[servers]\nx = 1", "F:1: servers: unknown key; did you mean server?")]
    [InlineData("\n[[mailserver]]\nx = 1", "F:2: mailserver: unknown key; did you mean mail_server?")]
    // Right name, wrong table.
    [InlineData("listen = []", "F:1: listen: unknown key; did you mean server.listen?")]
    [InlineData("[server]\nretry = []", "F:2: server.retry: unknown key; did you mean client.retry?")]
    [InlineData("[server]\nstate_directory = \"/x\"", "F:2: server.state_directory: unknown key; did you mean state_directory?")]
    public void An_error_offers_the_key_that_was_meant(string text, string error) => Assert.Equal([error], ConfigDirectory.Errors(text));

    [Fact]
    public void Without_any_near_key_the_error_names_all_of_the_table() => Assert.StartsWith(
        "F:4: mail_server.x509: unknown key; the keys here are domain, host, port, concurrency, when_down, ",
        Assert.Single(ConfigDirectory.Errors("[[mail_server]]\ndomain = \"*\"\nhost = \"a\"\nx509 = 1")), StringComparison.Ordinal);
}
