using Xunit;

namespace Mfrelay.Tests;

public sealed class ConfigCheckTests
{
    [Fact]
    public void A_listener_that_is_there_twice_is_an_error_at_the_second() => Assert.Equal(
        ["F:3: server.listen: \"[::1]:25\" is there twice; write each address and port once"],
        ConfigDirectory.Errors("server.listen = [\n\"[::1]:25\",\n\"[0:0::1]:25\"]"));

    [Theory]
    [InlineData("example.com", "192.0.2.1", "example.com", "192.0.2.1")]
    [InlineData("example.com", "mx.example", "EXAMPLE.com", "MX.example")]
    [InlineData("*", "2001:db8::1", "*", "2001:db8:0:0::1")]
    [InlineData("*", "192.0.2.1", "*", "::ffff:192.0.2.1")]
    public void A_mail_server_that_is_there_twice_is_an_error(string domain, string host, string domain2, string host2)
    {
        string error = Assert.Single(ConfigDirectory.Errors($"""
            [[mail_server]]
            domain = "{domain}"
            host = "{host}"
            [[mail_server]]
            domain = "{domain2}"
            host = "{host2}"
            """));
        Assert.StartsWith("F:4: mail_server: ", error, StringComparison.Ordinal);
        Assert.EndsWith(", line 1; write each mail server of a domain once", error, StringComparison.Ordinal);
    }

    [Fact]
    public void One_mail_server_may_take_several_domains_and_have_several_ports() => Assert.Equal(3, ConfigDirectory.Settings("""
        mail_server = [
          { domain = "a.example", host = "192.0.2.1" },
          { domain = "b.example", host = "192.0.2.1" },
          { domain = "b.example", host = "192.0.2.1", port = 2525 },
        ]
        """).MailServers.Count);

    [Theory]
    [InlineData("127.0.0.1:25", "127.0.0.1")]
    [InlineData("127.0.0.1:25", "::ffff:127.0.0.1")]
    [InlineData("127.0.0.1:25", "localhost")]
    [InlineData("192.0.2.7:25", "192.0.2.7")]
    [InlineData("[2001:db8::7]:25", "2001:db8:0::7")]
    [InlineData("0.0.0.0:25", "127.0.0.2")]
    [InlineData("0.0.0.0:25", "0.0.0.0")]
    [InlineData("0.0.0.0:25", "localhost")]
    [InlineData("[::]:25", "::1")]
    [InlineData("[::]:25", "127.0.0.1")]
    [InlineData("[::]:25", "LOCALHOST")]
    public void A_mail_server_that_is_the_relay_itself_is_an_error(string listener, string host)
    {
        string error = Assert.Single(ConfigDirectory.Errors(Config(listener, host)));
        Assert.StartsWith("F:4: mail_server.host: ", error, StringComparison.Ordinal);
        Assert.Contains($"this relay itself, which listens on {listener}: mail would loop", error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_port_that_is_wrong_is_not_taken_for_port_25_as_well()
    {
        string error = Assert.Single(ConfigDirectory.Errors(Config("0.0.0.0:25", "127.0.0.1") + "\nport = \"many\""));
        Assert.Contains("mail_server.port: ", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1:25", "127.0.0.2")]
    [InlineData("127.0.0.1:2525", "127.0.0.1")]
    [InlineData("127.0.0.1:25", "::1")]
    [InlineData("0.0.0.0:25", "::1")]
    [InlineData("0.0.0.0:25", "192.0.2.7")]
    [InlineData("192.0.2.7:25", "localhost")]
    [InlineData("0.0.0.0:25", "mx.example")]
    public void A_mail_server_elsewhere_is_none(string listener, string host) =>
        Assert.Equal(host, Assert.Single(ConfigDirectory.Settings(Config(listener, host)).MailServers).Host);

    [Fact]
    public void The_default_listeners_count_too() =>
        Assert.Contains("mail would loop", Assert.Single(ConfigDirectory.Errors(Config(null, "127.0.0.1"))), StringComparison.Ordinal);

    private static string Config(string? listener, string host) =>
        $"{(listener is null ? "" : $"server.listen = [\"{listener}\"]")}\n[[mail_server]]\ndomain = \"*\"\nhost = \"{host}\"";
}
