using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class The_operator_changes_queued_mail_while_the_client_runs : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly Relay _relay;

    public The_operator_changes_queued_mail_while_the_client_runs() => _relay = new Relay(_sink.EndPoint);

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }

    [Fact]
    public async Task A_drained_mail_server_gets_nothing_but_what_is_flushed()
    {
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await RunAsync(0, "drain", _sink.EndPoint.ToString(), "--reason", "new disks");
        await client.WaitForLineAsync("INFO_b221 .*new disks");
        string flushed = await _relay.SendAsync("flushed");
        string waits = await _relay.SendAsync("waits");
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        Assert.Empty(_sink.Mail);

        await RunAsync(0, "queue", "flush", flushed);
        await client.WaitForLineAsync($"INFO_b102 {flushed} ");
        Assert.Equal("flushed", Mail.TextOf(Assert.Single(_sink.Mail)));

        await RunAsync(0, "resume", _sink.EndPoint.ToString());
        await client.WaitForLineAsync($"INFO_b102 {waits} ");
    }

    [Fact]
    public async Task Held_mail_waits_for_its_release_and_deleted_mail_is_gone()
    {
        await _relay.StartServerAsync();
        string held = await _relay.SendAsync("held");
        string deleted = await _relay.SendAsync("deleted");
        await Task.Delay(1000, TestContext.Current.CancellationToken); // rows come a moment after the mail
        await RunAsync(0, "queue", "hold", held);
        await RunAsync(0, "queue", "delete", deleted, "--yes");
        Daemon client = await _relay.StartClientAsync();
        string last = await _relay.SendAsync("last");
        await client.WaitForLineAsync($"INFO_b102 {last} ");
        Assert.Equal("last", Mail.TextOf(Assert.Single(_sink.Mail)));
        await RunAsync(1, "queue", "show", deleted);

        await RunAsync(0, "queue", "release", held);
        await client.WaitForLineAsync($"INFO_b102 {held} ");
        Assert.Equal(2, _sink.Mail.Count);
        await RunAsync(1, "queue", "list");
    }

    [Fact]
    public async Task Deleted_mail_is_not_sent_although_it_waits_for_its_turn_with_a_mail_server_already()
    {
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var goOn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _sink.Script = async line =>
        {
            if (line is ".")
            {
                begun.TrySetResult();
                await goOn.Task;
            }
            return null;
        };
        _relay.WriteConfig(_relay.ConfigOf("", ("*", _sink.EndPoint)) + "concurrency = 1\n");
        await _relay.StartServerAsync();
        string first = await _relay.SendAsync("first");
        Daemon client = await _relay.StartClientAsync();
        await begun.Task.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        string deleted = await _relay.SendAsync("deleted"), last = await _relay.SendAsync("last");
        await Task.Delay(1000, TestContext.Current.CancellationToken); // rows come a moment after the mail
        await RunAsync(0, "queue", "delete", deleted, "--yes");
        await Task.Delay(1500, TestContext.Current.CancellationToken); // as long as the client may take to hear of it
        goOn.SetResult();
        await client.WaitForLineAsync($"INFO_b102 {first} ");
        await client.WaitForLineAsync($"INFO_b102 {last} ");
        Assert.Equal(["first", "last"], _sink.Mail.Select(Mail.TextOf));
    }

    [Fact]
    public async Task An_ordered_bounce_that_the_full_disk_does_not_take_is_made_later_and_never_becomes_a_delivery()
    {
        await using Tmpfs small = await Tmpfs.MountAsync("size=32m");
        await using var relay = new Relay(_sink.EndPoint, server: "min_free_space = \"0B\"", stateDirectory: Path.Join(small.Root, "state"));
        await relay.StartServerAsync();
        string id = await relay.SendAsync("unwanted");
        await Task.Delay(1000, TestContext.Current.CancellationToken); // rows come a moment after the mail
        await RunAsync(relay, 0, "queue", "bounce", id, "--yes");
        string ballast = Path.Join(small.Root, "ballast");
        Files.Fill(ballast);
        Daemon client = await relay.StartClientAsync();
        await client.WaitForLineAsync($"WARN_b111 {id} ");
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        File.Delete(ballast);
        await client.WaitForLineAsync($"INFO_b109 {id} .*kind=failed");
        await _sink.WaitForAsync(1);
        Assert.Equal("", Assert.Single(_sink.Mail).From);
    }

    [Fact]
    public async Task Large_mail_that_is_deleted_gives_its_room_back_at_once()
    {
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await RunAsync(0, "drain", _sink.EndPoint.ToString());
        await client.WaitForLineAsync("INFO_b221");
        using Sender sender = await _relay.ConnectAsync();
        await sender.HelloAsync();
        string id = Sender.QueueIdOf(await sender.MailAsync("a@example.org", ["b@example.com", "c@example.com"], Mail.OfSize(600_000)));
        string data = Path.Join(_relay.StateDirectory, "queue", "smtp", $"{id}.dat");
        Assert.True(File.Exists(data));
        await Task.Delay(1000, TestContext.Current.CancellationToken);
        await RunAsync(0, "queue", "delete", id, "--yes");
        for (int i = 0; i < 100 && File.Exists(data); i++)
            await Task.Delay(100, TestContext.Current.CancellationToken);
        Assert.False(File.Exists(data));
        await _relay.StopAllAsync();
        Assert.Equal(0, client.Count("ERROR"));
    }

    [Fact]
    public async Task Exported_mail_comes_back_by_import_with_the_same_octets_behind_one_more_Received()
    {
        await _relay.StartServerAsync();
        string id = await _relay.SendAsync("there and back", "one@example.com", "two@example.net");
        string directory = _relay.PathOf("mail");
        await Task.Delay(1000, TestContext.Current.CancellationToken);
        await RunAsync(0, "queue", "export", directory);
        await RunAsync(0, "queue", "delete", id, "--yes");
        await RunAsync(0, "queue", "import", directory);
        Assert.Empty(Directory.GetFiles(directory, "*.json"));
        await RunAsync(0, "config", "diff");
        await RunAsync(0, "version");
        Daemon client = await _relay.StartClientAsync();
        await client.WaitForLineAsync("INFO_b102 ");
        await _sink.WaitForAsync(1);
        Assert.Equal("there and back", Mail.TextOf(_sink.Mail[0]));
        Assert.Equal(["one@example.com", "two@example.net"], _sink.Mail[0].To.Order(StringComparer.Ordinal), StringComparer.Ordinal);
        await RunAsync(0, "status");
    }

    private Task RunAsync(int exit, params string[] arguments) => RunAsync(_relay, exit, arguments);

    private static async Task RunAsync(Relay relay, int exit, params string[] arguments)
    {
        using var command = new Daemon("mfrelay", [.. arguments, "--config", relay.ConfigFile]);
        Assert.Equal((exit, ""), (await command.WaitForExitAsync(60), exit == 0 ? command.Errors : ""));
    }
}
