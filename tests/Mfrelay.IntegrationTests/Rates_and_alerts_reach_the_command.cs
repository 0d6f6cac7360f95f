using System.Text.Json;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Rates_and_alerts_reach_the_command : IAsyncLifetime
{
    private readonly Sink _sink = new();
    private readonly Sink _deadSink = new(started: false);
    private readonly Relay _relay;

    public Rates_and_alerts_reach_the_command()
    {
        _relay = new Relay(_sink.EndPoint);
        _relay.WriteConfig(_relay.ConfigOf("", ("example.com", _sink.EndPoint), ("dead.example", _deadSink.EndPoint)) + "\n[alert]\nqueue_size = 1\ninterval = \"1s\"\n");
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
        _deadSink.Dispose();
    }

    [Theory]
    [InlineData("status", "--json")]
    [InlineData("top", "--json", "--once")]
    public async Task Of_both_daemons(params string[] command)
    {
        Daemon server = await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await _relay.SendAsync("one", "to@example.com", "to@dead.example");
        await client.WaitForLineAsync("WARN_b231 Alert. queue_size queue ");
        JsonElement status = await UntilAsync(command, status => status.GetProperty("alerts").GetArrayLength() == 1 && RateOf(status, 0, 0) > 0 && RateOf(status, 1, 0) > 0);
        Assert.Equal("queue_size", status.GetProperty("alerts")[0].GetProperty("rule").GetString());
        Assert.Equal(server.Id, status.GetProperty("daemons")[0].GetProperty("pid").GetInt32());
        Assert.Equal(1, status.GetProperty("daemons")[0].GetProperty("rates")[0].GetProperty("total").GetInt32());
        Assert.Equal("delivered", status.GetProperty("daemons")[1].GetProperty("rates")[0].GetProperty("name").GetString());

        await client.KillAsync();
        status = await UntilAsync(command, _ => true, exit: command[0] == "status" ? 1 : 0);
        Assert.Equal(0, status.GetProperty("alerts").GetArrayLength());
        Assert.Equal(JsonValueKind.Null, status.GetProperty("daemons")[1].GetProperty("rates").ValueKind);
        Assert.Equal(0, await server.StopAsync());
        Assert.False(File.Exists(Path.Join(_relay.PathOf("run"), "mf-smtp-server.figures")));
    }

    private static double RateOf(JsonElement status, int daemon, int figure) =>
        status.GetProperty("daemons")[daemon].GetProperty("rates") is { ValueKind: JsonValueKind.Array } rates ? rates[figure].GetProperty("per_minute").GetDouble() : 0;

    private async Task<JsonElement> UntilAsync(string[] command, Func<JsonElement, bool> wanted, int exit = 0)
    {
        for (int i = 0; ; i++)
        {
            using var run = new Daemon("mfrelay", [.. command, "--config", _relay.ConfigFile]);
            Assert.Equal((exit, ""), (await run.WaitForExitAsync(60), run.Errors));
            using var document = JsonDocument.Parse(string.Join('\n', run.Lines));
            JsonElement status = document.RootElement.Clone();
            status = command[0] == "top" ? status.GetProperty("status") : status;
            if (wanted(status) || i == 20)
                return status;
            await Task.Delay(300);
        }
    }
}
