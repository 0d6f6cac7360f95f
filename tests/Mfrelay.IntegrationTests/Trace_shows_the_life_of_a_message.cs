using System.Text;
using System.Text.Json;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Trace_shows_the_life_of_a_message : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly Relay _relay;

    public Trace_shows_the_life_of_a_message() => _relay = new Relay(_sink.EndPoint, domain: "example.com");

    [Fact]
    public async Task Accepted_deferred_delivered_by_id_by_Message_ID_and_by_address()
    {
        File.WriteAllText(_relay.ConfigFile, "access_log = \"m-filter\"\n" + File.ReadAllText(_relay.ConfigFile));
        int refusals = 0;
        _sink.Script = line => Task.FromResult(
            line.StartsWith("RCPT TO:<later@", StringComparison.Ordinal) && Interlocked.Increment(ref refusals) == 1 ? "450 4.2.1 mailbox busy"
            : line.StartsWith("RCPT TO:<never@", StringComparison.Ordinal) ? "550 5.1.1 no such user" : null);
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        using Sender sender = await _relay.ConnectAsync();
        await sender.HelloAsync();
        string id = Sender.QueueIdOf(await sender.MailAsync(
            "sender@example.com", ["later@example.com", "never@example.com"], Encoding.ASCII.GetBytes("Message-ID:\r\n <m1@sender.example>\r\n\r\ntext\r\n")));
        await client.WaitForLineAsync($"INFO_b102 {id} .*to=<later@");
        string notice = (await client.WaitForLineAsync($"INFO_b109 {id} ")).Split("queued. ")[1].Split(' ')[0];
        await client.WaitForLineAsync($"INFO_b102 {notice} ");
        Assert.StartsWith("550", (await RefuseAsync(sender))!, StringComparison.Ordinal);
        await _relay.StopAllAsync(); // their last lines are written then

        foreach (string what in new[] { id, "<m1@sender.example>", "LATER@example.com", notice })
        {
            JsonElement[] messages = [.. JsonDocument.Parse(await RunAsync(0, "trace", what, "--json")).RootElement.EnumerateArray()];
            Assert.Equal([id, notice], messages.Select(message => message.GetProperty("id").GetString()));
            Assert.Equal(["accepted", "notice", "deferred", "failed", "delivered"], Events(messages[0]));
            Assert.Equal(["delivered"], Events(messages[1]));
        }
        string table = await RunAsync(0, "trace", id);
        Assert.Matches($@"(?s)connected .*127\.0\.0\.1:\d+ .* accepted .*message-id=<m1@sender\.example>.* deferred .*450 4\.2\.1 mailbox busy.* delivered .*final dot: 250 ", table);
        Assert.Contains("refused", await RunAsync(0, "trace", "to@elsewhere.example"), StringComparison.Ordinal);
        await RunAsync(1, "trace", "nobody@example.com");

        string csv = File.ReadAllText(Assert.Single(Directory.GetFiles(Path.Join(_relay.StateDirectory, "log"), "access-client-*.csv")));
        Assert.Matches($@"(?m)^[^,]+,{id},[^,]+,example\.com,127\.0\.0\.1,sender@example\.com,later@example\.com,{_sink.EndPoint.Address},{_sink.EndPoint.Port},250 [^\n]*,final dot,\d+,<m1@sender\.example>\r?$", csv);
    }

    private static IEnumerable<string> Events(JsonElement message) => message.GetProperty("events").EnumerateArray().Select(one => one.GetProperty("event").GetString()!);

    private static async Task<string?> RefuseAsync(Sender sender)
    {
        await sender.SayAsync("MAIL FROM:<sender@example.org>");
        return await sender.SayAsync("RCPT TO:<to@elsewhere.example>");
    }

    private async Task<string> RunAsync(int exitCode, params string[] arguments)
    {
        using var command = new Daemon("mfrelay", [.. arguments, "--config", _relay.ConfigFile]);
        Assert.Equal(exitCode, await command.WaitForExitAsync());
        return string.Join('\n', command.Lines);
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }
}
