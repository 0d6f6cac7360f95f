using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_full_disk_refuses_mail_until_there_is_room
{
    [Theory]
    [InlineData(20_000)]
    [InlineData(600_000)]
    public async Task And_loses_nothing(int size)
    {
        await using Tmpfs small = await Tmpfs.MountAsync("size=32m");
        using var sink = new Sink(started: false);
        await using var relay = new Relay(sink.EndPoint, server: "min_free_space = \"0B\"", stateDirectory: Path.Join(small.Root, "state"));
        Daemon server = await relay.StartServerAsync();
        Daemon client = await relay.StartClientAsync();
        string ballast = Path.Join(small.Root, "ballast");
        Files.Write(ballast, new byte[30_000_000]);

        var accepted = new List<(string Id, byte[] Data)>();
        using Sender sender = await relay.ConnectAsync();
        await sender.HelloAsync();
        byte[] data = Mail.OfSize(size);
        string reply = "";
        for (int i = 0; i < 300 && accepted.Count == i; i++)
        {
            reply = await sender.MailAsync("a@example.org", [$"r{i}@example.com"], data);
            if (reply.StartsWith('2'))
                accepted.Add((Sender.QueueIdOf(reply), data));
        }
        Assert.StartsWith("452 4.3.1 ", reply, StringComparison.Ordinal);
        await server.WaitForLineAsync("INFO_a102 .*452 4.3.1");
        Assert.NotEmpty(accepted);
        await Task.Delay(1500, TestContext.Current.CancellationToken);

        File.Delete(ballast);
        await Task.Delay(500, TestContext.Current.CancellationToken);
        string id = Sender.QueueIdOf(await sender.MailAsync("a@example.org", ["last@example.com"], Mail.Text("last")));
        sink.Start();
        await sink.WaitForAsync(accepted.Count + 1, seconds: 30);
        await client.WaitForLineAsync($"INFO_b102 {id} ");
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        Assert.Equal(accepted.Count + 1, sink.Mail.Count);
        Assert.All(accepted, one => Assert.Single(sink.Mail, received => received.Data.AsSpan().IndexOf(System.Text.Encoding.ASCII.GetBytes(one.Id)) >= 0));
        Assert.All(sink.Mail.Where(received => received.Data.Length > size), received => Mail.AssertCameThrough(data, "", received));
        await relay.StopAllAsync();
        Assert.Equal(0, server.Count("ERROR") + client.Count("ERROR"));
    }

    [Fact]
    public async Task And_mail_that_is_delivered_meanwhile_does_not_come_twice()
    {
        await using Tmpfs small = await Tmpfs.MountAsync("size=32m");
        using var sink = new Sink(started: false);
        await using var relay = new Relay(sink.EndPoint, server: "min_free_space = \"0B\"", stateDirectory: Path.Join(small.Root, "state"));
        await relay.StartServerAsync();
        Daemon client = await relay.StartClientAsync();
        for (int i = 0; i < 30; i++)
            await relay.SendAsync($"m{i}");
        await client.WaitForLineAsync("INFO_b103");
        string ballast = Path.Join(small.Root, "ballast");
        Files.Fill(ballast);

        sink.Start();
        await sink.WaitForAsync(1);
        await Task.Delay(2500, TestContext.Current.CancellationToken);
        File.Delete(ballast);
        await sink.WaitForAsync(30);
        await client.WaitForLineAsync("INFO_b102 .*to=<to@", seconds: 5);
        await Task.Delay(3000, TestContext.Current.CancellationToken);
        await relay.StopAllAsync();
        await relay.StartServerAsync();
        await relay.StartClientAsync();
        await relay.SendAsync("last");
        await sink.WaitForAsync(31);
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        Assert.Equal(31, sink.Mail.Select(Mail.TextOf).Distinct(StringComparer.Ordinal).Count());
        Assert.Equal(31, sink.Mail.Count);
    }

    [Fact]
    public async Task From_min_free_space_on_so_that_deliveries_can_be_written_down()
    {
        await using Tmpfs small = await Tmpfs.MountAsync("size=64m");
        using var sink = new Sink();
        await using var relay = new Relay(sink.EndPoint, server: "min_free_space = \"24MiB\"", stateDirectory: Path.Join(small.Root, "state"));
        Daemon server = await relay.StartServerAsync();
        string ballast = Path.Join(small.Root, "ballast");
        Files.Write(ballast, new byte[30_000_000]);
        await Task.Delay(200, TestContext.Current.CancellationToken);
        using Sender sender = await relay.ConnectAsync();
        await sender.HelloAsync();
        Assert.StartsWith("250 ", await sender.SayAsync("MAIL FROM:<a@example.org> SIZE=1000000"), StringComparison.Ordinal);
        await sender.SayAsync("RSET");
        Assert.StartsWith("452 4.3.1 ", await sender.SayAsync("MAIL FROM:<a@example.org> SIZE=20000000"), StringComparison.Ordinal);

        Files.Write(ballast, new byte[50_000_000]);
        await Task.Delay(200, TestContext.Current.CancellationToken);
        Assert.StartsWith("452 4.3.1 ", await sender.SayAsync("MAIL FROM:<a@example.org>"), StringComparison.Ordinal);
        await server.WaitForLineAsync("WARN_a311 .*server.min_free_space");
        File.Delete(ballast);
        await Task.Delay(200, TestContext.Current.CancellationToken);
        Assert.StartsWith("250 ", await sender.SayAsync("MAIL FROM:<a@example.org>"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task And_both_still_stop_when_asked()
    {
        await using Tmpfs small = await Tmpfs.MountAsync("size=32m");
        using var sink = new Sink(started: false);
        await using var relay = new Relay(sink.EndPoint, server: "min_free_space = \"0B\"", stateDirectory: Path.Join(small.Root, "state"));
        Daemon server = await relay.StartServerAsync();
        Daemon client = await relay.StartClientAsync();
        await relay.SendAsync("kept");
        await client.WaitForLineAsync("INFO_b103");
        string ballast = Path.Join(small.Root, "ballast");
        Files.Fill(ballast);
        await client.WaitForLineAsync("INFO_b103");
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        Assert.Equal(0, await server.StopAsync(5));
        Assert.Equal(0, await client.StopAsync(5));

        File.Delete(ballast);
        sink.Start();
        await relay.StartClientAsync();
        await sink.WaitForAsync(1);
    }

    /// <summary>Only the database has no room, and the look before a change, at the state directory, does not see it.</summary>
    [Fact]
    public async Task And_a_page_of_the_database_that_cannot_be_written_holds_up_nobody()
    {
        await using Tmpfs small = await Tmpfs.MountAsync("size=1m");
        using var sink = new Sink(started: false);
        await using var relay = new Relay(sink.EndPoint);
        Directory.CreateDirectory(relay.StateDirectory);
        foreach (string file in (string[])[relay.Database, relay.DatabaseLog])
        {
            string elsewhere = Path.Join(small.Root, Path.GetFileName(file));
            Files.Write(elsewhere, "");
            File.CreateSymbolicLink(file, elsewhere);
        }
        Daemon server = await relay.StartServerAsync();
        Daemon client = await relay.StartClientAsync();
        await relay.SendAsync("before");
        await client.WaitForLineAsync("INFO_b103");
        await Task.Delay(1500, TestContext.Current.CancellationToken);

        string ballast = Path.Join(small.Root, "ballast");
        Files.Fill(ballast);
        Files.Cut(ballast, 4096); // half a page can be written
        for (int i = 0; i < 5; i++)
            await relay.SendAsync($"without a row {i}");
        await server.WaitForLineAsync("WARN_c305");
        sink.Start();
        await sink.WaitForAsync(1);
        Assert.Equal(0, await server.StopAsync(5));
        Assert.Equal(0, await client.StopAsync(5));

        File.Delete(ballast);
        server = await relay.StartServerAsync();
        client = await relay.StartClientAsync();
        await sink.WaitForAsync(6);
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        Assert.Equal(6, sink.Mail.Count);
        Assert.Equal(0, server.Count("broken") + client.Count("broken"));
    }
}
