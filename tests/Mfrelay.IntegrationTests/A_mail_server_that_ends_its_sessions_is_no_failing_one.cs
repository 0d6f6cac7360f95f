using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_mail_server_that_ends_its_sessions_is_no_failing_one
{
    [Fact]
    public async Task With_421_to_the_next_message_after_so_many()
    {
        int ofSession = 0;
        using var sink = new Sink
        {
            Script = line =>
            {
                if (line.StartsWith("EHLO", StringComparison.Ordinal))
                    ofSession = 0;
                return Task.FromResult(line.StartsWith("MAIL", StringComparison.Ordinal) && ++ofSession > 2 ? "421 4.7.0 enough for this session" : null);
            },
        };
        await using var relay = new Relay(sink.EndPoint);
        relay.WriteConfig(relay.ConfigOf("", ("*", sink.EndPoint)) + "concurrency = 1\n");
        await relay.StartServerAsync();
        for (int i = 0; i < 7; i++)
            await relay.SendAsync($"m{i}");
        Daemon client = await relay.StartClientAsync();
        await sink.WaitForAsync(7);
        Assert.Equal(7, sink.Mail.Select(Mail.TextOf).Distinct(StringComparer.Ordinal).Count());
        Assert.Equal(0, client.Count("INFO_b211|INFO_b303|INFO_b103"));
    }

    [Fact]
    public async Task With_421_behind_the_250_and_its_DSN_still_counts()
    {
        using var sink = new Sink
        {
            Script = line => Task.FromResult(line.StartsWith("EHLO", StringComparison.Ordinal) ? "250-sink.example\r\n250 DSN"
                : line is "." ? "250 2.0.0 kept\r\n421 4.3.2 closing" : null),
        };
        await using var relay = new Relay(sink.EndPoint);
        await relay.StartServerAsync();
        Daemon client = await relay.StartClientAsync();
        using Sender sender = await relay.ConnectAsync();
        await sender.HelloAsync();
        await sender.SayAsync("MAIL FROM:<a@example.org>");
        await sender.SayAsync("RCPT TO:<b@example.com> NOTIFY=SUCCESS");
        await sender.SayAsync("DATA");
        await sender.WriteAsync(Sender.Stuffed(Mail.Text("reported by the other side")));
        string id = Sender.QueueIdOf(await sender.ReadReplyAsync());
        await client.WaitForLineAsync($"INFO_b102 {id} ");
        Assert.Equal(0, client.Count("INFO_b109")); // that line comes before the other
    }

    [Fact]
    public async Task But_one_on_the_check_list_stays_there_when_an_attempt_is_cut_off()
    {
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var sink = new Sink
        {
            Script = async line =>
            {
                if (line is "." && begun.TrySetResult())
                    await Task.Delay(Timeout.Infinite);
                return line.StartsWith("EHLO", StringComparison.Ordinal) && begun.Task.IsCompleted ? "421 4.3.2 not now" : null;
            },
        };
        await using var relay = new Relay(sink.EndPoint, client: "shutdown_timeout = \"1s\"");
        await relay.StartServerAsync();
        Daemon client = await relay.StartClientAsync();
        await relay.SendAsync("cut off");
        await begun.Task.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        await relay.SendAsync("finds it failing");
        await client.WaitForLineAsync("INFO_b211");
        Assert.Equal(0, await client.StopAsync(5));
        Assert.Equal(0, client.Count("INFO_b212"));
    }
}
