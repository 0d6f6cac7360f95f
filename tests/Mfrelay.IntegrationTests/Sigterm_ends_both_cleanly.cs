using System.Diagnostics;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Sigterm_ends_both_cleanly : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly Relay _relay;

    public Sigterm_ends_both_cleanly() => _relay = new Relay(_sink.EndPoint);

    [Fact]
    public async Task The_server_ends_with_0_while_it_still_waits_for_a_mail_server_that_does_not_answer()
    {
        using var silent = new Sink { Script = _ => Task.Delay(Timeout.Infinite).ContinueWith(_ => (string?)null, TaskScheduler.Default) };
        await using var relay = new Relay(silent.EndPoint);
        Daemon server = relay.LaunchServer();
        await server.WaitForLineAsync("INFO_a202");
        server.Terminate();
        Assert.Equal(0, await server.WaitForExitAsync(seconds: 5));
    }

    [Fact]
    public async Task In_under_two_seconds_when_idle_and_the_database_is_closed()
    {
        Daemon server = await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await _relay.SendAsync("one");
        await client.WaitForLineAsync("INFO_b102");

        long began = Stopwatch.GetTimestamp();
        Assert.Equal(0, await server.StopAsync());
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 2);
        began = Stopwatch.GetTimestamp();
        Assert.Equal(0, await client.StopAsync());
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 2);

        Assert.Equal(1, server.Count("INFO_c102"));
        Assert.Equal(1, client.Count("INFO_c102"));
        Assert.Equal(0, server.Count("WARN|ERROR") + client.Count("WARN|ERROR"));
        Assert.True(!File.Exists(_relay.DatabaseLog) || new FileInfo(_relay.DatabaseLog).Length == 0, "mfrelay-log.db has content");
        using MailLog log = MailLog.ToAction(Language.En, (_, line) => Assert.Fail(line));
        var state = StateDirectory.Open(_relay.StateDirectory);
        using var store = new QueueStore(state, () => new RouteTable([]), log, TimeProvider.System);
        // On a slow machine the server may have written a row that the client did not see any more; it would not be sent again.
        Assert.DoesNotContain(await store.RunAsync(table => table.ReadAfter(0, 10)), row =>
            File.Exists(Path.Combine(state.Spool, SpoolFormat.SegmentName(row.Position.Segment)))
            && DoneJournal.Read(state.Spool, row.Position.Segment).Without(row) is not null);
        Assert.Empty(Directory.GetFiles(_relay.PathOf("run")));
    }

    [Fact]
    public async Task Mail_data_that_is_coming_may_finish_and_others_hear_421()
    {
        Daemon server = await _relay.StartServerAsync();
        await _relay.StartClientAsync();
        using Sender busy = await _relay.ConnectAsync();
        using Sender idle = await _relay.ConnectAsync();
        await busy.HelloAsync();
        await idle.HelloAsync();
        await busy.SayAsync("MAIL FROM:<a@example.org>");
        await busy.SayAsync("RCPT TO:<b@example.com>");
        Assert.StartsWith("354 ", await busy.SayAsync("DATA"), StringComparison.Ordinal);
        byte[] wire = Sender.Stuffed(Mail.Text("finished"));
        await busy.WriteAsync(wire[..10]);

        server.Terminate();
        Assert.StartsWith("421 4.3.2 ", await idle.ReadReplyAsync(), StringComparison.Ordinal);
        Assert.True(await idle.EndsAsync());
        await Task.Delay(500, TestContext.Current.CancellationToken);
        Assert.False(server.HasExited, "ended in the middle of a transaction");
        await busy.WriteAsync(wire[10..]);
        Assert.StartsWith("250 2.0.0 ", await busy.ReadReplyAsync(), StringComparison.Ordinal);
        Assert.StartsWith("421 4.3.2 ", await busy.ReadReplyAsync(), StringComparison.Ordinal);
        Assert.Equal(0, await server.WaitForExitAsync(2));
        await _sink.WaitForAsync(1);
        Assert.Equal("finished", Mail.TextOf(_sink.Mail[0]));
        Assert.Equal(0, server.Count("WARN|ERROR"));
    }

    [Fact]
    public async Task A_session_in_a_transaction_without_mail_data_hears_421_instead_of_its_next_reply()
    {
        Daemon server = await _relay.StartServerAsync();
        using Sender busy = await _relay.ConnectAsync();
        using Sender second = await _relay.ConnectAsync();
        await busy.HelloAsync();
        await busy.SayAsync("MAIL FROM:<a@example.org>");
        await busy.SayAsync("RCPT TO:<b@example.com>");
        await busy.SayAsync("DATA");
        await second.HelloAsync();
        await second.SayAsync("MAIL FROM:<a@example.org>");

        server.Terminate();
        Assert.StartsWith("421 4.3.2 ", await second.ReadReplyAsync(), StringComparison.Ordinal);
        busy.Dispose();
        Assert.Equal(0, await server.WaitForExitAsync(3));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_delivery_that_runs_is_finished(bool afterReload)
    {
        await _relay.StartServerAsync();
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _sink.Script = async line =>
        {
            if (line is ".")
            {
                begun.TrySetResult();
                await Task.Delay(1000);
            }
            return null;
        };
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("slow");
        await begun.Task.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        if (afterReload)
        {
            client.Reload();
            await client.WaitForLineAsync("INFO_c103");
        }
        Assert.Equal(0, await client.StopAsync(5));
        Assert.Equal(1, client.Count($"INFO_b102 {id} "));

        client = await _relay.StartClientAsync();
        await Task.Delay(1000, TestContext.Current.CancellationToken);
        Assert.Single(_sink.Mail);
        Assert.Equal(0, client.Count("_b1"));
    }

    [Fact]
    public async Task A_delivery_beyond_the_time_limit_is_cut_off_and_comes_later()
    {
        await using var relay = new Relay(_sink.EndPoint, client: "shutdown_timeout = \"1s\"");
        await relay.StartServerAsync();
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _sink.Script = async line =>
        {
            if (!line.StartsWith("RCPT", StringComparison.Ordinal) || begun.Task.IsCompleted)
                return null;
            begun.TrySetResult();
            await Task.Delay(5000);
            return null;
        };
        Daemon client = await relay.StartClientAsync();
        await relay.SendAsync("cut");
        await begun.Task.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        Assert.Equal(0, await client.StopAsync(4));
        Assert.Empty(_sink.Mail);
        await relay.StartClientAsync();
        await _sink.WaitForAsync(1);
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }
}
