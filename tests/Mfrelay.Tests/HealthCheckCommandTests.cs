using System.Globalization;
using System.Text.Json;
using Xunit;

namespace Mfrelay.Tests;

public sealed class HealthCheckCommandTests
{
    private const string Good = "S: 220 peer.example\nC: EHLO relay.example\nS: 250-peer.example\nS: 250 SIZE 1000\nC: QUIT\nS: 221 bye";

    [Fact]
    public async Task Each_step_of_the_dialog_is_printed_with_its_time()
    {
        await using var peer = new ScriptedPeer(Good);
        using var run = RunOf(peer.Server.Port);
        Assert.Equal(0, run.Invoke("health", "check"));
        string address = $"127.0.0.1:{peer.Server.Port}";
        Assert.Equal(
            [
                $"connecting to {address}", $"connected to {address}", "< 220 peer.example", "> EHLO relay.example",
                "< 250-peer.example", "< 250 SIZE 1000", "> QUIT", "< 221 bye",
            ],
            [.. run.Lines[..^1].Select(line => line[11..])]);
        Assert.All(run.Lines[..^1], line => Assert.Matches(@"^ +\d+\.\d{3}s  ", line));
        Assert.Equal($"{address}: reached", run.Lines[^1]);
    }

    [Fact]
    public async Task One_that_is_not_reached_makes_exit_1()
    {
        await using var good = new ScriptedPeer(Good);
        await using var bad = new ScriptedPeer("S: 554 no\nC: QUIT\nS: 221 bye");
        using var run = RunOf(good.Server.Port, bad.Server.Port);
        Assert.Equal(1, run.Invoke("health", "check"));
        Assert.Contains($"127.0.0.1:{good.Server.Port}: reached\n", run.Output, StringComparison.Ordinal);
        Assert.Contains($"127.0.0.1:{bad.Server.Port}: connected, but not a good answer: greeting: 554 no\n", run.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1:{0}")]
    [InlineData("d1.example")]
    public async Task Only_those_that_were_asked_for_are_checked(string which)
    {
        await using var asked = new ScriptedPeer(Good);
        using var run = RunOf(1, asked.Server.Port);
        Assert.Equal(0, run.Invoke("health", "check", string.Format(CultureInfo.InvariantCulture, which, asked.Server.Port), "--json"));
        JsonElement only = Assert.Single(run.Json().EnumerateArray());
        Assert.True(only.GetProperty("reached").GetBoolean());
        Assert.Equal(1000, only.GetProperty("size_limit").GetInt64());
        Assert.Equal("< 221 bye", only.GetProperty("steps")[7].GetProperty("text").GetString());
    }

    [Fact]
    public void A_name_that_no_mail_server_has_is_exit_1()
    {
        using var run = RunOf(1);
        Assert.Equal(1, run.Invoke("health", "check", "nobody.example"));
        Assert.Equal("mfrelay: no registered mail server has the host, address or domain nobody.example\n", run.Error);
    }

    private static CommandRun RunOf(params int[] ports) =>
        new(string.Concat(ports.Select((port, i) => $"[[mail_server]]\ndomain = \"d{i}.example\"\nhost = \"127.0.0.1\"\nport = {port}\n")))
        {
            Time = TimeProvider.System,
        };
}
