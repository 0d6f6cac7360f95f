using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Mail_servers_of_one_domain_take_turns : IAsyncDisposable
{
    private readonly Sink _first = new();
    private readonly Sink _second = new();
    private readonly Relay _relay;

    public Mail_servers_of_one_domain_take_turns() => _relay = new Relay(_first.EndPoint);

    [Fact]
    public async Task C09_Each_takes_every_second_message()
    {
        await StartAsync("retry = [\"1s\"]");
        await SendAsync(10);
        await _first.WaitForAsync(5, seconds: 10);
        await _second.WaitForAsync(5, seconds: 10);
        await Task.Delay(300);
        Assert.Equal((5, 5), (_first.Mail.Count, _second.Mail.Count));
    }

    [Fact]
    public async Task C09_With_failover_none_a_message_whose_mail_server_fails_waits_for_its_retry()
    {
        _first.Stop();
        Daemon client = await StartAsync("retry = [\"1h\"]");
        await SendAsync(2);
        await client.WaitForLineAsync("INFO_b211");
        await _second.WaitForAsync(1, seconds: 10);
        await Task.Delay(2000);
        Assert.Single(_second.Mail);
    }

    [Fact]
    public async Task C09_With_failover_next_the_others_take_it_in_the_same_attempt()
    {
        _first.Stop();
        Daemon client = await StartAsync("retry = [\"1h\"]\nfailover = \"next\"");
        await SendAsync(10);
        await _second.WaitForAsync(10, seconds: 10);
        Assert.Equal(1, client.Count("INFO_b211"));
    }

    [Fact]
    public async Task C07_By_default_recovery_sends_nothing_before_its_retry()
    {
        _first.Stop();
        _second.Stop();
        Daemon client = await StartAsync("retry = [\"1h\"]");
        await SendAsync(2);
        await client.WaitForLineAsync("INFO_b211 .*" + _first.EndPoint);
        await client.WaitForLineAsync("INFO_b211 .*" + _second.EndPoint);
        _first.Start();
        _second.Start();
        await client.WaitForLineAsync("INFO_b212 .*" + _first.EndPoint);
        await client.WaitForLineAsync("INFO_b212 .*" + _second.EndPoint);
        await Task.Delay(1500);
        Assert.Empty(_first.Mail.Concat(_second.Mail));
    }

    [Fact]
    public async Task C07_With_on_recovery_release_the_queue_is_sent_at_once_and_sessions_grow()
    {
        _first.Stop();
        _second.Stop();
        int sessions = 0, most = 0;
        List<int> seen = [];
        _first.Script = line =>
        {
            lock (seen)
            {
                if (line.StartsWith("EHLO", StringComparison.Ordinal))
                    most = Math.Max(most, ++sessions);
                if (line == ".")
                    seen.Add(sessions);
            }
            return Task.FromResult<string?>(null);
        };
        _relay.WriteConfig(_relay.ConfigOf("retry = [\"1h\"]\non_recovery = \"release\"", ("*", _first.EndPoint)));
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await SendAsync(40);
        await client.WaitForLineAsync("INFO_b211");
        // The first attempts of all sessions run at the same time: none of them is to find the mail server that comes back.
        for (int before = -1, ended; (ended = client.Count("INFO_b101")) != before; before = ended)
            await Task.Delay(500, TestContext.Current.CancellationToken);
        _first.Start();
        await client.WaitForLineAsync("INFO_b212");
        await _first.WaitForAsync(40, seconds: 10);
        lock (seen)
        {
            Assert.Equal(2, seen[0]); // the check, and the one session that the ramp begins with
            Assert.True(most > 3, $"sessions did not grow: {most}");
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _first.Dispose();
        _second.Dispose();
    }

    private async Task<Daemon> StartAsync(string client)
    {
        _relay.WriteConfig(_relay.ConfigOf(client, ("*", _first.EndPoint), ("*", _second.EndPoint)));
        await _relay.StartServerAsync();
        return await _relay.StartClientAsync();
    }

    private async Task SendAsync(int count)
    {
        for (int i = 0; i < count; i++)
            await _relay.SendAsync($"message {i}");
    }
}
