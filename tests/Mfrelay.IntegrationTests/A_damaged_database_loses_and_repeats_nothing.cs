using Mfrelay.Core;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_damaged_database_loses_and_repeats_nothing : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly Relay _relay;

    public A_damaged_database_loses_and_repeats_nothing() => _relay = new Relay(_sink.EndPoint);

    public enum Harm
    {
        Deleted,
        Truncated,
        CutShort,
        Garbage,
        OlderCopy,
    }

    [Theory]
    [InlineData(Harm.Deleted)]
    [InlineData(Harm.Truncated)]
    [InlineData(Harm.CutShort)]
    [InlineData(Harm.Garbage)]
    [InlineData(Harm.OlderCopy)]
    public async Task While_both_are_stopped(Harm harm)
    {
        await DeliverAsync();
        KeepCopy();
        await DeliverSomeLeaveSomeAsync();
        await _relay.StopAllAsync();

        Do(harm);
        Daemon server = await _relay.StartServerAsync();
        Refuse("");
        Daemon client = await _relay.StartClientAsync();
        await FinishAsync(server, client, harm);
    }

    [Theory]
    [InlineData(Harm.Deleted)]
    [InlineData(Harm.Truncated)]
    [InlineData(Harm.CutShort)]
    [InlineData(Harm.Garbage)]
    [InlineData(Harm.OlderCopy)]
    public async Task While_both_run(Harm harm)
    {
        await DeliverAsync();
        KeepCopy();
        (Daemon server, Daemon client) = await DeliverSomeLeaveSomeAsync();
        await Task.Delay(300, TestContext.Current.CancellationToken);

        // Between two turns: what is cut off under an open database is broken, whatever the harm.
        using (var lease = new Lease(_relay.StateDirectory))
        {
            lease.Enter();
            Do(harm);
        }
        Refuse("");
        await FinishAsync(server, client, harm);
    }

    [Fact]
    public async Task When_an_older_copy_names_segments_that_have_been_removed()
    {
        Daemon server = await _relay.StartServerAsync();
        await _relay.SendAsync("gone");
        Assert.Equal(0, await server.StopAsync());
        KeepCopy();
        Daemon client = await _relay.StartClientAsync();
        await client.WaitForLineAsync("INFO_b102");
        string spool = Path.Join(_relay.StateDirectory, "queue", "smtp");
        for (int i = 0; i < 100 && Directory.GetFiles(spool).Length > 1; i++) // the segment goes first, its journal next
            await Task.Delay(100, TestContext.Current.CancellationToken);
        Assert.Equal(["server.end"], Directory.GetFiles(spool).Select(Path.GetFileName));
        Assert.Equal(0, await client.StopAsync());

        Do(Harm.OlderCopy);
        server = await _relay.StartServerAsync();
        client = await _relay.StartClientAsync();
        await _relay.SendAsync("after");
        await _sink.WaitForAsync(2);
        await _relay.StopAllAsync();
        Assert.Equal(["gone", "after"], _sink.Mail.Select(Mail.TextOf), StringComparer.Ordinal);
        Assert.Equal(0, server.Count("ERROR") + client.Count("ERROR"));
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }

    private string Copy => _relay.PathOf("copy.db");

    /// <summary>Lets some mail through and stops both, which leaves a complete database.</summary>
    private async Task DeliverAsync()
    {
        await _relay.StartServerAsync();
        Refuse("early-left");
        Daemon client = await _relay.StartClientAsync();
        await _relay.SendAsync("early-done");
        await _relay.SendAsync("early-left", "early-left@example.com");
        await _sink.WaitForAsync(1);
        await client.WaitForLineAsync("INFO_b103");
        await _relay.StopAllAsync();
    }

    private void KeepCopy() => File.Copy(_relay.Database, Copy);

    private async Task<(Daemon Server, Daemon Client)> DeliverSomeLeaveSomeAsync()
    {
        Daemon server = await _relay.StartServerAsync();
        Refuse("left");
        Daemon client = await _relay.StartClientAsync();
        for (int i = 0; i < 5; i++)
        {
            await _relay.SendAsync($"done{i}");
            await _relay.SendAsync($"left{i}", $"left{i}@example.com");
        }
        await _sink.WaitForAsync(6);
        await client.WaitForLineAsync("INFO_b103.*to=<left4@");
        return (server, client);
    }

    /// <summary>RCPT for an address with the word in it is put off.</summary>
    private void Refuse(string word) => _sink.Script = line => Task.FromResult(
        word.Length > 0 && line.StartsWith("RCPT", StringComparison.Ordinal) && line.Contains(word, StringComparison.Ordinal) ? "450 4.2.1 not now" : null);

    private void Do(Harm harm)
    {
        switch (harm)
        {
            case Harm.Deleted:
                File.Delete(_relay.Database);
                break;
            case Harm.Truncated:
                Files.Write(_relay.Database, []);
                break;
            case Harm.CutShort:
                byte[] whole = File.ReadAllBytes(_relay.Database);
                Files.Write(_relay.Database, whole[..(whole.Length / 2 / 8192 * 8192 + 1000)]);
                break;
            case Harm.Garbage:
                byte[] garbage = new byte[64 * 1024];
                new Random(1).NextBytes(garbage);
                Files.Write(_relay.Database, garbage);
                break;
            case Harm.OlderCopy:
                File.Copy(Copy, _relay.Database, overwrite: true);
                break;
        }
    }

    private async Task FinishAsync(Daemon server, Daemon client, Harm harm)
    {
        await _relay.SendAsync("after");
        string[] expected =
        [
            "after", .. Enumerable.Range(0, 5).Select(i => $"done{i}"), "early-done", "early-left", .. Enumerable.Range(0, 5).Select(i => $"left{i}"),
        ];
        await _sink.WaitForAsync(expected.Length);
        // Time for anything that would come twice.
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        await _relay.StopAllAsync();
        Assert.Equal(expected, _sink.Mail.Select(Mail.TextOf).Order(StringComparer.Ordinal), StringComparer.Ordinal);

        Assert.Equal(0, server.Count("ERROR") + client.Count("ERROR"));
        string[] aside = [.. Directory.GetFiles(_relay.StateDirectory, "mfrelay.db.broken-*")];
        int warnings = server.Count("WARN_c301") + client.Count("WARN_c301");
        bool broken = harm is Harm.CutShort or Harm.Garbage or Harm.OlderCopy;
        Assert.Equal(broken ? 1 : 0, warnings);
        Assert.Equal(broken ? 1 : 0, aside.Length);
        // Nothing is left in the queue: both start again and find nothing to send.
        await _relay.StartServerAsync();
        client = await _relay.StartClientAsync();
        await Task.Delay(500, TestContext.Current.CancellationToken);
        await _relay.StopAllAsync();
        Assert.DoesNotContain(client.Lines, line => line.Contains("_b1", StringComparison.Ordinal) || line.Contains("_b4", StringComparison.Ordinal));
        Assert.Equal(expected.Length, _sink.Mail.Count);
    }
}
