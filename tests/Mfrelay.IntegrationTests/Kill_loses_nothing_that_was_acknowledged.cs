using System.Collections.Concurrent;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Kill_loses_nothing_that_was_acknowledged : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly Relay _relay;

    public Kill_loses_nothing_that_was_acknowledged() => _relay = new Relay(_sink.EndPoint);

    [Fact]
    public async Task Of_the_server_right_after_250_under_load()
    {
        Daemon server = await _relay.StartServerAsync();
        var acknowledged = new ConcurrentBag<string>();
        var attempted = new ConcurrentBag<string>();
        Task[] senders = [.. Enumerable.Range(0, 4).Select(i => SendUntilLostAsync(i, attempted, acknowledged))];
        while (acknowledged.Count < 20)
            await Task.Delay(1);
        await server.KillAsync();
        await Task.WhenAll(senders);

        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await _sink.WaitForAsync(acknowledged.Count);
        // Whatever else there is comes before this one.
        await _relay.SendAsync("last");
        await client.WaitForLineAsync("INFO_b102");
        await WaitForTextAsync("last");
        await _relay.StopAllAsync();

        string[] arrived = [.. _sink.Mail.Select(Mail.TextOf).Where(text => text != "last").Order(StringComparer.Ordinal)];
        Assert.Equal(arrived.Distinct(StringComparer.Ordinal), arrived);
        Assert.Subset(arrived.ToHashSet(StringComparer.Ordinal), acknowledged.ToHashSet(StringComparer.Ordinal));
        Assert.Subset(attempted.ToHashSet(StringComparer.Ordinal), arrived.ToHashSet(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Of_the_client_in_mid_delivery_and_only_what_was_in_flight_comes_twice()
    {
        await _relay.StartServerAsync();
        string[] texts = [.. Enumerable.Range(0, 60).Select(i => $"m{i}")];
        foreach (string text in texts)
            await _relay.SendAsync(text);
        // The tenth message is kept by the sink, but its reply does not come before the kill.
        var tenth = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        int dots = 0;
        int answered = 0;
        _sink.Script = async line =>
        {
            if (line != ".")
                return null;
            if (Interlocked.Increment(ref dots) >= 10)
            {
                tenth.TrySetResult();
                await Task.Delay(300);
            }
            Interlocked.Increment(ref answered);
            return null;
        };
        Daemon client = await _relay.StartClientAsync();
        await tenth.Task.WaitAsync(TimeSpan.FromSeconds(15));
        await client.KillAsync();
        HashSet<string> known = [.. client.Lines.Where(line => line.Contains("INFO_b102", StringComparison.Ordinal)).Select(line => line.Split(' ')[2])];
        await Task.Delay(500);
        int inFlight = _sink.Mail.Count - known.Count;
        Assert.InRange(known.Count, 0, 30);

        _sink.Script = _ => Task.FromResult<string?>(null);
        client = await _relay.StartClientAsync();
        await WaitForAllAsync(texts);
        await _relay.StopAllAsync();

        string[] arrived = [.. _sink.Mail.Select(Mail.TextOf)];
        int twice = arrived.Length - texts.Length;
        Assert.Equal(texts.Order(StringComparer.Ordinal), arrived.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal));
        Assert.InRange(twice, 0, Math.Min(inFlight, 20));
        Assert.Empty(client.Lines.Where(line => line.Contains("INFO_b102", StringComparison.Ordinal)).Select(line => line.Split(' ')[2]).Where(known.Contains));
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }

    private async Task SendUntilLostAsync(int session, ConcurrentBag<string> attempted, ConcurrentBag<string> acknowledged)
    {
        try
        {
            using Sender sender = await _relay.ConnectAsync();
            await sender.HelloAsync();
            for (int i = 0; i < 5000; i++)
            {
                string text = $"s{session}-{i}";
                attempted.Add(text);
                string reply = await sender.MailAsync("sender@example.org", ["to@example.com"], Mail.Text(text));
                if (!reply.StartsWith("250 ", StringComparison.Ordinal))
                    return;
                acknowledged.Add(text);
            }
        }
        catch (IOException)
        {
            // Killed.
        }
    }

    private Task WaitForTextAsync(string text) => WaitForAllAsync([text]);

    private async Task WaitForAllAsync(string[] texts)
    {
        for (int i = 0; i < 750; i++)
        {
            HashSet<string> arrived = [.. _sink.Mail.Select(Mail.TextOf)];
            if (texts.All(arrived.Contains))
                return;
            await Task.Delay(20);
        }
        Assert.Fail($"Not all of {texts.Length} messages have arrived");
    }
}
