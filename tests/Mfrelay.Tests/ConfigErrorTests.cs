using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ConfigErrorTests
{
    [Theory]
    [InlineData("a = 1\nb = \"\\U", 2)]
    [InlineData("a = \"\\U00110000\"", 1)]
    public void An_escape_that_is_no_character_does_not_crash_the_config(string text, int line)
    {
        var errors = new List<ConfigError>();
        Assert.Null(ConfigSyntax.Parse("F", text, errors));
        Assert.Equal(line, Assert.Single(errors).Line);
        Assert.StartsWith("not TOML: ", errors[0].Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\u007F")]
    [InlineData("\u001B[2J = 1")]
    [InlineData("\"\\u001B[2J\\n\" = 1")]
    public void A_config_error_sends_no_control_character_to_the_terminal(string text)
    {
        ConfigLoad load = ConfigFile.Load("F", [("F", text)], static () => "machine.example", withUsers: false, []);
        Assert.NotEmpty(load.Errors);
        Assert.All(load.Errors, error => Assert.DoesNotContain(error.ToString(), char.IsControl));
    }

    [Theory]
    // Sizes.
    [InlineData("server.max_message_size = \"50XB\"",
        "F:1: server.max_message_size: \"50XB\" is not a size; write a number with B, KB, KiB, MB, MiB, GB or GiB, from 64KiB to 2GiB")]
    [InlineData("server.max_message_size = \"63KiB\"",
        "F:1: server.max_message_size: \"63KiB\" is too small; write a number with B, KB, KiB, MB, MiB, GB or GiB, from 64KiB to 2GiB")]
    [InlineData("server.max_message_size = -5",
        "F:1: server.max_message_size: -5 is too small; write a number with B, KB, KiB, MB, MiB, GB or GiB, from 64KiB to 2GiB")]
    [InlineData("server.max_message_size = true",
        "F:1: server.max_message_size: true is a boolean; write a number with B, KB, KiB, MB, MiB, GB or GiB, from 64KiB to 2GiB")]
    // Loopback alone, and URLs.
    [InlineData("server.metrics_listen = \"0.0.0.0:9125\"",
        "F:1: server.metrics_listen: \"0.0.0.0:9125\" is not a loopback address with a port; write \"127.0.0.1:9125\", \"[::1]:9125\" (a loopback address: nobody is asked for a password there), or \"\"")]
    [InlineData("client.metrics_listen = \"127.0.0.1:0\"",
        "F:1: client.metrics_listen: \"127.0.0.1:0\" is not a loopback address with a port; write \"127.0.0.1:9125\", \"[::1]:9125\" (a loopback address: nobody is asked for a password there), or \"\"")]
    [InlineData("server.metrics_listen = \"[::1]:9125\"\nclient.metrics_listen = \"[::1]:9125\"",
        "F:2: client.metrics_listen: \"[::1]:9125\" is server.metrics_listen too; each process needs a port of its own")]
    [InlineData("server.listen = [\"127.0.0.1:2525\"]\nserver.metrics_listen = \"127.0.0.1:2525\"",
        "F:2: server.metrics_listen: \"127.0.0.1:2525\" is where mail is accepted; write another port")]
    [InlineData("alert.webhook = \"ftp://example.com/\"",
        "F:1: alert.webhook: \"ftp://example.com/\" is not a URL; write \"https://host/path\" or \"http://host/path\", or \"\"")]
    // Durations.
    [InlineData("server.command_timeout = \"5 minutes\"",
        "F:1: server.command_timeout: \"5 minutes\" is not a duration; write a number with ms, s, m, h or d in quotes, from 1s to 1h")]
    [InlineData("server.command_timeout = 300",
        "F:1: server.command_timeout: 300 is an integer; write a number with ms, s, m, h or d in quotes, from 1s to 1h")]
    [InlineData("server.command_timeout = 07:32:00",
        "F:1: server.command_timeout: 07:32:00 is a date or time; write a number with ms, s, m, h or d in quotes, from 1s to 1h")]
    [InlineData("server.command_timeout = \"2h\"",
        "F:1: server.command_timeout: \"2h\" is too large; write a number with ms, s, m, h or d in quotes, from 1s to 1h")]
    // Integers.
    [InlineData("server.max_errors = \"many\"", "F:1: server.max_errors: \"many\" is a string; write an integer from 1 to 10000")]
    [InlineData("server.max_errors = 1.5", "F:1: server.max_errors: 1.5 is a float; write an integer from 1 to 10000")]
    [InlineData("server.max_errors = 0", "F:1: server.max_errors: 0 is too small; write an integer from 1 to 10000")]
    [InlineData("server.max_errors = 10001", "F:1: server.max_errors: 10001 is too large; write an integer from 1 to 10000")]
    [InlineData("server.max_errors = 4294967297", "F:1: server.max_errors: 4294967297 is too large; write an integer from 1 to 10000")]
    [InlineData("server.max_errors = [1]", "F:1: server.max_errors: [...] is a list; write an integer from 1 to 10000")]
    [InlineData("server.max_errors = {}", "F:1: server.max_errors: this is a table; write an integer from 1 to 10000")]
    // Choices.
    [InlineData("server.bare_newline = \"maybe\"", "F:1: server.bare_newline: \"maybe\" is not one of the choices; write \"reject\" or \"accept\"")]
    [InlineData("language = \"EN\"", "F:1: language: \"EN\" is not one of the choices; write \"ja\" or \"en\"")]
    [InlineData("language = 1", "F:1: language: 1 is an integer; write \"ja\" or \"en\"")]
    // Strings.
    [InlineData("state_directory = \"var\"", "F:1: state_directory: \"var\" is not an absolute path; write a path that begins with \"/\"")]
    [InlineData("host_name = \"a_b\\u0007\"",
        "F:1: host_name: \"a_b\\u0007\" is not a domain name; write a name of letters, digits, \"-\" and \".\" such as \"relay.example.jp\"")]
    // Lists.
    [InlineData("client.retry = \"5m\"", "F:1: client.retry: \"5m\" is a string; write a list such as [\"1m\", \"5m\", \"15m\", \"30m\", \"1h\"]")]
    [InlineData("client.retry = []", "F:1: client.retry: the list is empty; write at least one, such as [\"1m\", \"5m\", \"15m\", \"30m\", \"1h\"]")]
    [InlineData("server.listen = []", "F:1: server.listen: the list is empty; write at least one, such as [\"0.0.0.0:25\", \"[::]:25\"], or a [[listener]]")]
    [InlineData("client.retry = [\n\"5m\",\n\"999ms\"]",
        "F:3: client.retry: \"999ms\" is too small; write a number with ms, s, m, h or d in quotes, from 1s to 7d")]
    // Tables.
    [InlineData("server = 5", "F:1: server: 5 is an integer; write [server], and the settings below it")]
    [InlineData("[[server]]", "F:1: server: [[...]] is an array of tables; write [server], and the settings below it")]
    [InlineData("[mail_server]", "F:1: mail_server: this is a table; write [[mail_server]], once for each, and the settings below it")]
    [InlineData("mail_server = [1]", "F:1: mail_server: [...] is a list; write [[mail_server]], once for each, and the settings below it")]
    [InlineData("[[mail_server]]\nhost = \"mx.example\"\n[mail_server.host]\nport = 25", "F:3: host: not TOML: it is something else on line 2; remove one of the two")]
    public void A_wrong_value_is_shown_with_what_is_allowed(string text, string error) => Assert.Equal([error], ConfigDirectory.Errors(text));

    [Theory]
    [InlineData("localhost:25")]
    [InlineData("127.0.0.1")]
    [InlineData("127.1:25")]
    [InlineData(":25")]
    [InlineData("::1:25")]
    [InlineData("[::1]")]
    [InlineData("[127.0.0.1]:25")]
    [InlineData("127.0.0.1:65536")]
    [InlineData("127.0.0.1:+25")]
    public void A_listener_is_an_address_and_a_port(string listener) => Assert.Equal(
        [$"F:1: server.listen: \"{listener}\" is not an address with a port; write an IP address and a port, \"192.0.2.1:25\" or \"[2001:db8::1]:25\""],
        ConfigDirectory.Errors($"server.listen = [\"{listener}\"]"));

    [Theory]
    [InlineData("10/8")]
    [InlineData("10.0.0.0/33")]
    [InlineData("10.0.0.0/")]
    [InlineData("example.com")]
    [InlineData("")]
    public void A_network_is_an_address_and_a_prefix_length(string network) => Assert.Equal(
        [$"F:1: server.allow: \"{network}\" is not a network; write a network, \"192.0.2.0/24\" or \"2001:db8::/32\", or one address"],
        ConfigDirectory.Errors($"server.allow = [\"{network}\"]"));

    [Theory]
    [InlineData("")]
    [InlineData("*.")]
    [InlineData("*.*")]
    [InlineData("*example.com")]
    [InlineData("a..example")]
    [InlineData("example.com.")]
    [InlineData("-a.example")]
    [InlineData("exa mple.com")]
    [InlineData("user@example.com")]
    public void A_domain_of_a_mail_server_is_a_name_or_a_wildcard(string domain) => Assert.Equal(
        [$"F:1: mail_server.domain: \"{domain}\" is not a domain; write \"example.com\", \"*.example.com\" or \"*\""],
        ConfigDirectory.Errors($"mail_server = [{{ domain = \"{domain}\", host = \"192.0.2.1\" }}]"));

    [Theory]
    [InlineData("")]
    [InlineData("[::1]")]
    [InlineData("192.0.2.1:25")]
    [InlineData("300.0.0.1")]
    [InlineData("10.1")]
    [InlineData("mx_.-example")]
    public void A_host_of_a_mail_server_is_a_name_or_an_address(string host) => Assert.Equal(
        [$"F:1: mail_server.host: \"{host}\" is not a host name or IP address; write a host name, or an IP address without brackets and port"],
        ConfigDirectory.Errors($"mail_server = [{{ domain = \"*\", host = \"{host}\" }}]"));

    [Fact]
    public void A_domain_may_have_labels_of_63_and_253_characters_but_not_more()
    {
        string label = new('a', 63);
        string longest = $"{label}.{label}.{label}.{label[..61]}";
        Assert.Equal(longest, ConfigDirectory.Settings($"host_name = \"{longest}\"").HostName);
        Assert.Single(ConfigDirectory.Errors($"host_name = \"{longest}a\""));
        Assert.Single(ConfigDirectory.Errors($"host_name = \"{label}a\""));
    }

    [Fact]
    public void A_mail_server_without_domain_or_host_is_an_error_at_its_header() => Assert.Equal(
        [
            "F:2: mail_server.host: this is missing here; write host = \"192.0.2.1\" or the like",
            "F:5: mail_server.domain: this is missing here; write domain = \"example.com\" or the like",
        ],
        ConfigDirectory.Errors("\n[[mail_server]]\ndomain = \"*\"\n\n[[mail_server]]\nhost = \"192.0.2.1\""));

    [Fact]
    public void All_errors_come_at_once_in_the_order_of_their_lines() => Assert.Equal(
        ["1 hostnam", "2 language", "4 server.listen", "5 server.max_errors", "6 server.limit", "7 mail_server.host", "8 mail_server.domain"],
        ConfigDirectory.Load("""
            hostnam = "a"
            language = "fr"
            [server]
            listen = ["127.0.0.1:25", "127.0.0.1:25"]
            max_errors = 0
            limit = 5
            [[mail_server]]
            domain = "a b"
            """).Errors.Select(error => $"{error.Line} {error.Key}").ToArray());

    [Theory]
    [InlineData("a = 1\nserver.max_message_size = 50MB\n", 2, "in quotes")]
    [InlineData("language = ja\n", 1, "in quotes")]
    [InlineData("\n\n[server\nmax_errors = 1\n", 3, "expecting `]`")]
    [InlineData("\nlanguage = \"ja\n", 2, "newline in a string")]
    [InlineData("[server]\n[client]\n[server]\n", 3, "already defined")]
    [InlineData("language = \"ja\"\nlanguage = \"en\"\n", 2, "already defined")]
    [InlineData("what is this", 1, "not TOML")]
    [InlineData("language = \"\\q\"", 1, "not TOML")]
    public void What_is_not_toml_is_an_error_with_its_line(string text, int line, string message)
    {
        ConfigError error = ConfigDirectory.Load(text).Errors[0];
        Assert.Equal((line, ""), (error.Line, error.Key));
        Assert.StartsWith("not TOML: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[")]
    [InlineData("{a=")]
    public void Endless_nesting_is_an_error_and_no_stack_overflow(string nest)
    {
        string text = "a = " + string.Concat(Enumerable.Repeat(nest, 100_000));
        Assert.StartsWith("not TOML: ", ConfigDirectory.Load(text).Errors[0].Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_table_under_an_empty_list_was_an_exception() =>
        Assert.NotEmpty(ConfigDirectory.Load("[[server]]\nallow = []\n[server.allow]").Errors);

    // Among these lines are the ways in which TOML lets one path be a value, a table, an array of tables, or a contradiction.
    [Fact]
    public void Any_mix_of_lines_gives_either_settings_or_errors()
    {
        Gen<string[]> mixes = Gen.Elements(
            "[server]", "[[server]]", "[server.allow]", "[[mail_server]]", "[mail_server]", "[mail_server.host]", "[[mail_server.x]]", "[a.b]",
            "server = 1", "server = {}", "server = { max_errors = 1 }", "server.max_errors = 2", "server.max_errors.x = 2", "server.x.y = []",
            "mail_server = []", "mail_server = [{}]", "mail_server = [[], {}]", "mail_server.domain = \"*\"", "max_errors = 3", "allow = []",
            "allow = [{ a = [] }]", "listen = [", "]", "domain = \"*\"", "host = \"mx.example\"", "port = 25", "\"\" = 1", "= 1", "x", "\0", "'''")
            .ArrayOf();
        Prop.ForAll(mixes.ToArbitrary(), lines =>
        {
            ConfigLoad load = ConfigDirectory.Load(string.Join('\n', lines));
            return load.Settings is null == load.Errors.Count > 0 && load.Errors.All(error => error.Line > 0);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Fact]
    public void A_long_value_is_cut_in_the_error()
    {
        string error = Assert.Single(ConfigDirectory.Errors($"language = \"{new string('x', 100_000)}\""));
        Assert.InRange(error.Length, 60, 160);
    }

    [Fact]
    public void A_machine_without_a_usable_name_needs_host_name()
    {
        using var directory = new ConfigDirectory();
        directory.Write("mfrelay.toml", "");
        ConfigError error = Assert.Single(ConfigFile.Load(directory.MainFile, () => "my_box").Errors);
        Assert.Equal("host_name", error.Key);

        directory.Write("mfrelay.toml", "host_name = \"relay.example.jp\"");
        Assert.Equal("relay.example.jp", ConfigFile.Load(directory.MainFile, () => "my_box").Settings!.HostName);
    }
}
