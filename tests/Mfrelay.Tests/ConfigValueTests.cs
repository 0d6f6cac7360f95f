using System.Net;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ConfigValueTests
{
    [Fact]
    public void A_whole_config_is_read()
    {
        Settings settings = ConfigDirectory.Settings("""
            host_name = "relay.example.jp"
            state_directory = "/srv/mfrelay"
            run_directory = '/tmp/run'
            language = "en"
            [server]
            listen = [
              "127.0.0.1:2525", # one
              "[::1]:2525",
            ]
            allow = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "172.16.5.5/12"]
            max_message_size = "10MiB"
            max_recipients = 1_000
            bare_newline = "accept"
            command_timeout = "90s"
            [client]
            retry = ["1s", "5d"]
            messages_per_session = 0
            [[mail_server]]
            domain = "example.com"
            host = "192.168.0.1"
            [[mail_server]]
            domain = "*.例え.jp"
            host = "2001:db8::25"
            port = 2525
            concurrency = 3
            [[mail_server]]
            domain = "*"
            host = "smart_host.intra"
            """);

        Assert.Equal(("relay.example.jp", "/srv/mfrelay", "/tmp/run"), (settings.HostName, settings.StateDirectory, settings.RunDirectory));
        Assert.Equal(Language.En, settings.Language);
        Assert.Equal([new(IPAddress.Loopback, 2525), new(IPAddress.IPv6Loopback, 2525)], settings.Server.Listen);
        Assert.Equal(["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "172.16.0.0/12"], settings.Server.Allow.Select(network => network.ToString()).ToArray());
        Assert.Equal(10 << 20, settings.Server.MaxMessageSize);
        Assert.Equal(1000, settings.Server.MaxRecipients);
        Assert.Equal(BareNewline.Accept, settings.Server.BareNewline);
        Assert.Equal(TimeSpan.FromSeconds(90), settings.Server.CommandTimeout);
        Assert.Equal([TimeSpan.FromSeconds(1), TimeSpan.FromDays(5)], settings.Client.Retry);
        Assert.Equal(0, settings.Client.MessagesPerSession);
        Assert.Equal(
            [
                new MailServer { Domain = "example.com", Host = "192.168.0.1", Port = 25, Concurrency = 20 },
                new MailServer { Domain = "*.例え.jp", Host = "2001:db8::25", Port = 2525, Concurrency = 3 },
                new MailServer { Domain = "*", Host = "smart_host.intra" },
            ],
            settings.MailServers);
        // What the file does not say keeps its default.
        Assert.Equal(TimeSpan.FromMinutes(5), settings.Server.DataTimeout);
    }

    [Theory]
    [InlineData("server = { max_errors = 7, bare_newline = \"accept\" }")]
    [InlineData("server.max_errors = 7\nserver.bare_newline = \"accept\"")]
    [InlineData("[server]\nmax_errors = 7\n\"bare_newline\" = '''accept'''")]
    [InlineData("\uFEFF[server]\r\nmax_errors = 0x7 # seven\r\nbare_newline = \"accept\"\r\n")]
    public void Every_way_that_toml_has_to_write_a_table_is_the_same(string text) =>
        Assert.Equal((7, BareNewline.Accept), (ConfigDirectory.Settings(text).Server.MaxErrors, ConfigDirectory.Settings(text).Server.BareNewline));

    [Fact]
    public void Mail_servers_may_be_an_inline_list() => Assert.Equal(
        [new MailServer { Domain = "a.example", Host = "10.0.0.1" }, new MailServer { Domain = "b.example", Host = "10.0.0.2" }],
        ConfigDirectory.Settings("""
            mail_server = [{ domain = "a.example", host = "10.0.0.1" }, { domain = "b.example", host = "10.0.0.2" }]
            """).MailServers);

    [Fact]
    public void A_size_may_be_a_plain_integer() =>
        Assert.Equal(100_000, ConfigDirectory.Settings("server.max_message_size = 100000").Server.MaxMessageSize);

    [Fact]
    public void An_empty_file_gives_the_defaults_and_the_name_of_the_machine()
    {
        Settings settings = ConfigDirectory.Settings("");
        Assert.Equal("box.example.net", settings.HostName);
        Assert.Equal(new Settings().StateDirectory, settings.StateDirectory);
        Assert.Empty(settings.MailServers);
    }

    [Fact]
    public void Every_number_has_a_least_and_a_greatest_value()
    {
        Type[] records = [typeof(Settings), typeof(ServerSettings), typeof(ClientSettings), typeof(MailServer)];
        Assert.Empty(records
            .SelectMany(Setting.Of)
            .Where(setting => setting.Type == typeof(int) || setting.Type == typeof(long) || setting.Type == typeof(TimeSpan))
            .Where(setting => setting.Min is null || setting.Max is null)
            .Select(setting => setting.Key));
    }
}
