using System.Net;
using System.Net.Sockets;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Bad_input_ends_with_an_exit_code_and_a_reason
{
    private static readonly IPEndPoint Nowhere = new(IPAddress.Loopback, 9);

    public static TheoryData<string> Daemons => ["mf-smtp-server", "mf-smtp-client"];

    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task A_config_that_is_no_TOML_is_78_with_file_and_line(string name)
    {
        await using var relay = new Relay(Nowhere);
        relay.WriteConfig("host_name = \"relay.example\"\n[server\n");
        await AssertEndsAsync(name, relay, 78, $"{relay.ConfigFile}:2");
    }

    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task An_unknown_key_is_78_with_file_line_and_what_was_meant(string name)
    {
        await using var relay = new Relay(Nowhere);
        relay.WriteConfig("host_name = \"relay.example\"\n\n[server]\nlissten = [\"127.0.0.1:2525\"]\n");
        await AssertEndsAsync(name, relay, 78, $"{relay.ConfigFile}:4", "lissten", "listen");
    }

    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task A_config_that_is_not_there_is_78_with_its_name(string name)
    {
        await using var relay = new Relay(Nowhere);
        File.Delete(relay.ConfigFile);
        await AssertEndsAsync(name, relay, 78, relay.ConfigFile);
    }

    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task An_unknown_argument_is_64_with_the_usage(string name)
    {
        using var daemon = new Daemon(name, "--confg", "/dev/null");
        Assert.Equal(64, await daemon.WaitForExitAsync());
        Assert.Contains("--confg", daemon.Errors, StringComparison.Ordinal);
        Assert.Contains($"Usage: {name}", daemon.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_port_in_use_is_69_with_the_port()
    {
        await using var relay = new Relay(Nowhere);
        using var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.Bind(relay.EndPoint);
        other.Listen();
        await AssertEndsAsync("mf-smtp-server", relay, 69, $"cannot listen on {relay.EndPoint}", "in use");
    }

    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task A_file_in_place_of_the_state_directory_is_73(string name)
    {
        await using var relay = new Relay(Nowhere);
        Files.Write(relay.StateDirectory, "precious");
        await AssertEndsAsync(name, relay, 73, relay.StateDirectory);
        Assert.Equal("precious", Files.Read(relay.StateDirectory));
    }

    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task A_state_directory_that_cannot_be_written_is_73(string name)
    {
        await using Tmpfs readOnly = await Tmpfs.MountAsync("ro");
        await using var relay = new Relay(Nowhere, stateDirectory: readOnly.Root);
        await AssertEndsAsync(name, relay, 73, readOnly.Root);
    }

    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task A_state_directory_of_a_newer_version_is_73_and_nothing_in_it_changes(string name)
    {
        await using var relay = new Relay(Nowhere);
        Directory.CreateDirectory(relay.StateDirectory);
        string format = Path.Join(relay.StateDirectory, "format");
        Files.Write(format, "mfrelay 2\n");
        Files.Write(relay.Database, "of another kind");
        await AssertEndsAsync(name, relay, 73, format, "newer", "2");
        Assert.Equal("mfrelay 2\n", Files.Read(format));
        Assert.Equal("of another kind", Files.Read(relay.Database));
        Assert.Equal([format, relay.Database], Directory.GetFileSystemEntries(relay.StateDirectory).Order(StringComparer.Ordinal), StringComparer.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task A_run_directory_that_is_a_file_is_73(string name)
    {
        await using var relay = new Relay(Nowhere);
        Files.Write(relay.PathOf("run"), "");
        await AssertEndsAsync(name, relay, 73, relay.PathOf("run"));
    }

    [Theory]
    [MemberData(nameof(Daemons))]
    public async Task A_second_one_on_the_same_state_directory_is_73_and_the_first_goes_on(string name)
    {
        using var sink = new Sink();
        await using var relay = new Relay(sink.EndPoint);
        Daemon server = await relay.StartServerAsync();
        Daemon client = await relay.StartClientAsync();
        string text = Files.Read(relay.ConfigFile);
        relay.WriteConfig(text.Replace($"\"{relay.EndPoint}\"", $"\"{Loopback.FreeEndPoint()}\"", StringComparison.Ordinal));
        await AssertEndsAsync(name, relay, 73, relay.StateDirectory);

        await relay.SendAsync("first");
        await sink.WaitForAsync(1);
        Assert.False(server.HasExited || client.HasExited);
    }

    private static async Task AssertEndsAsync(string name, Relay relay, int exitCode, params string[] words)
    {
        using Daemon daemon = new(name, "--config", relay.ConfigFile);
        int actual = await daemon.WaitForExitAsync();
        Assert.True(exitCode == actual, $"exit code {actual}, not {exitCode}: {daemon.Errors}\n{string.Join('\n', daemon.Lines)}");
        foreach (string word in words)
            Assert.Contains(word, daemon.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", daemon.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", string.Join('\n', daemon.Lines), StringComparison.Ordinal);
    }
}
