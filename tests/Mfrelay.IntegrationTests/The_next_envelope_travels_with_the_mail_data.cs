using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class The_next_envelope_travels_with_the_mail_data
{
    private const int Messages = 15;

    [Fact]
    public async Task As_long_as_more_than_one_waits_for_each_session()
    {
        using var sink = new Sink();
        await using Relay relay = await QueuedAsync(sink);
        Daemon client = await relay.StartClientAsync();
        await EachOnceAsync(sink);
        Assert.InRange(sink.Behind, Messages / 2, Messages - 1);
        await client.WaitForLineAsync($"INFO_b102 .* to=<{Messages - 1}@example.com>");
        Assert.Equal(0, client.Count("INFO_b103|INFO_b211"));
    }

    [Fact]
    public async Task And_waits_with_the_others_when_the_session_ends_with_the_message_before_it()
    {
        int dots = 0;
        using var sink = new Sink { Script = line => Task.FromResult(line is "." && ++dots == 3 ? "421 4.3.2 going down" : null) };
        await using Relay relay = await QueuedAsync(sink);
        Daemon client = await relay.StartClientAsync();
        await EachOnceAsync(sink);
        Assert.Equal(1, client.Count("INFO_b211"));
        Assert.Equal(1, client.Count("INFO_b103")); // the message that was answered so, no other
    }

    [Fact]
    public async Task And_goes_by_another_session_where_this_one_has_had_enough()
    {
        int ofSession = 0;
        using var sink = new Sink
        {
            Script = line =>
            {
                if (line.StartsWith("EHLO", StringComparison.Ordinal))
                    ofSession = 0;
                return Task.FromResult(line.StartsWith("MAIL", StringComparison.Ordinal) && ++ofSession > 4 ? "421 4.7.0 enough for this session" : null);
            },
        };
        await using Relay relay = await QueuedAsync(sink);
        Daemon client = await relay.StartClientAsync();
        await EachOnceAsync(sink);
        Assert.Equal(0, client.Count("INFO_b211|INFO_b303|INFO_b103"));
    }

    [Fact]
    public async Task But_no_more_to_a_mail_server_that_has_dropped_one()
    {
        using var sink = new Sink { DropsBehind = true };
        await using Relay relay = await QueuedAsync(sink, "command_timeout = \"1s\"");
        Daemon client = await relay.StartClientAsync();
        await EachOnceAsync(sink);
        Assert.Equal(1, sink.Behind);
        Assert.Equal(0, client.Count("INFO_b211|INFO_b303|INFO_b103"));
    }

    [Fact]
    public async Task Nor_to_one_that_answers_mail_data_twice()
    {
        using var sink = new Sink { Script = line => Task.FromResult(line is "." ? "250 2.0.0 kept\r\n250 2.0.0 really" : null) };
        await using Relay relay = await QueuedAsync(sink);
        Daemon client = await relay.StartClientAsync();
        await EachOnceAsync(sink);
        Assert.Equal(1, sink.Behind);
        Assert.Equal(0, client.Count("INFO_b211|INFO_b303|INFO_b103"));
    }

    [Fact]
    public async Task And_mail_that_is_tried_again_has_its_turn_all_the_same()
    {
        bool full = true;
        using var sink = new Sink
        {
            Script = line => Task.FromResult(full && line.StartsWith("RCPT", StringComparison.Ordinal) ? "452 4.2.2 mailbox full" : null),
        };
        await using Relay relay = await QueuedAsync(sink);
        Daemon client = await relay.StartClientAsync();
        for (int i = 0; i < Messages; i++)
            await client.WaitForLineAsync($"INFO_b103 .* to=<{i}@example.com>");
        Assert.Equal(0, await client.StopAsync());
        for (int i = 0; i < 2 * Messages; i++)
            await relay.SendAsync($"new {i}", "new@example.com");
        full = false;
        await Task.Delay(1500, TestContext.Current.CancellationToken); // until all of it is due
        await relay.StartClientAsync();
        await sink.WaitForAsync(3 * Messages);
        int[] again = [.. Enumerable.Range(0, 3 * Messages).Where(i => sink.Mail[i].To[0] is not "new@example.com")];
        Assert.Equal(Messages, again.Length);
        Assert.InRange(again[0], 0, (2 * Messages) - 8); // not behind all that is new
    }

    [Fact]
    public async Task And_a_stop_leaves_none_half_done()
    {
        var third = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        int dots = 0;
        using var sink = new Sink
        {
            Script = async line =>
            {
                if (line is not "." || ++dots != 3)
                    return null;
                third.SetResult();
                await Task.Delay(300);
                return null;
            },
        };
        await using Relay relay = await QueuedAsync(sink);
        Daemon client = await relay.StartClientAsync();
        await third.Task.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        Assert.Equal(0, await client.StopAsync(5));
        Assert.Equal(4, sink.Mail.Count); // the one that was being sent, and the one behind it
        await relay.StartClientAsync();
        await EachOnceAsync(sink);
    }

    /// <summary>One session, and mail waiting for it.</summary>
    private static async Task<Relay> QueuedAsync(Sink sink, string client = "")
    {
        var relay = new Relay(sink.EndPoint);
        relay.WriteConfig(relay.ConfigOf($"""
            retry = ["1s"]
            {client}
            """, ("*", sink.EndPoint)) + "concurrency = 1\n");
        await relay.StartServerAsync();
        for (int i = 0; i < Messages; i++)
            await relay.SendAsync($"m{i}", $"{i}@example.com");
        return relay;
    }

    private static async Task EachOnceAsync(Sink sink)
    {
        await sink.WaitForAsync(Messages);
        await Task.Delay(100); // for one too many
        Assert.Equal(
            Enumerable.Range(0, Messages).Select(i => $"{i}@example.com").Order(StringComparer.Ordinal),
            sink.Mail.SelectMany(mail => mail.To).Order(StringComparer.Ordinal));
    }
}
