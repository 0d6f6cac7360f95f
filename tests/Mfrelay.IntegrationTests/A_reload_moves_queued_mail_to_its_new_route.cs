using System.Net;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_reload_moves_queued_mail_to_its_new_route : IAsyncDisposable
{
    private readonly Sink _first = new(started: false);
    private readonly Sink _other = new(started: false);
    private readonly Relay _relay;

    public A_reload_moves_queued_mail_to_its_new_route() => _relay = new Relay(_first.EndPoint);

    [Fact]
    public async Task Both_halves_of_a_message_arrive_when_they_come_to_share_a_route()
    {
        // Both mail servers are down, so the two deliveries of the message wait.
        _relay.WriteConfig(Config(("one.test", _first.EndPoint), ("*", _other.EndPoint)));
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("halves", "a@one.test", "b@two.test");
        await client.WaitForLineAsync($"INFO_b103 {id} .*to=<a@one.test>");
        await client.WaitForLineAsync($"INFO_b103 {id} .*to=<b@two.test>");
        await Task.Delay(3000, TestContext.Current.CancellationToken); // a reload counts rows, which come a moment later

        _relay.WriteConfig(Config(("*", _other.EndPoint)));
        client.Reload();
        await client.WaitForLineAsync("INFO_c103 .*rerouted=1");
        _other.Start();
        await client.WaitForLineAsync($"INFO_b102 {id} .*to=<a@one.test>");
        await client.WaitForLineAsync($"INFO_b102 {id} .*to=<b@two.test>");
        Assert.Equal(["a@one.test", "b@two.test"], _other.Mail.SelectMany(mail => mail.To).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_listed_mail_server_is_not_checked_more_often_after_reloads()
    {
        int checks = 0;
        _first.Script = line =>
        {
            if (line.StartsWith("EHLO", StringComparison.Ordinal))
                Interlocked.Increment(ref checks);
            return Task.FromResult<string?>("421 4.3.2 not now");
        };
        _first.Start();
        Daemon server = await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await _relay.SendAsync("waits");
        await client.WaitForLineAsync("INFO_b211");
        await server.StopAsync();
        for (int reloads = 1; reloads <= 5; reloads++)
        {
            client.Reload();
            await Task.Delay(100);
        }
        Interlocked.Exchange(ref checks, 0);
        await Task.Delay(4000); // recheck_interval is 1s
        Assert.InRange(Volatile.Read(ref checks), 2, 5);
    }

    [Fact]
    public async Task What_was_wrong_with_a_listed_mail_servers_entry_is_right_for_its_checks_and_its_mail_after_the_reload()
    {
        _first.Start();
        string config = Config(("*", _first.EndPoint));
        _relay.WriteConfig(config + "tls = \"required\"\n");
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("waits");
        await client.WaitForLineAsync("INFO_b211");

        _relay.WriteConfig(config + "tls = \"none\"\n");
        client.Reload();
        await client.WaitForLineAsync("INFO_b212");
        await client.WaitForLineAsync($"INFO_b102 {id} ");
    }

    [Fact]
    public async Task A_bad_config_is_refused_with_its_line_and_the_old_one_stays()
    {
        _first.Start();
        Daemon server = await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        _relay.WriteConfig("host_name = \"relay.example\"\n[client]\nretry = [\"soon\"]\n");
        foreach (Daemon daemon in new[] { server, client })
        {
            daemon.Reload();
            await daemon.WaitForLineAsync("WARN_c306 .*mfrelay.toml:3: client.retry");
        }
        await _relay.SendAsync("as before");
        await _first.WaitForAsync(1, seconds: 10);
    }

    [Fact]
    public async Task What_only_a_restart_changes_is_named()
    {
        Daemon client = await _relay.StartClientAsync();
        _relay.WriteConfig("log_limit = 1000\n" + Config(("*", _other.EndPoint)));
        client.Reload();
        await client.WaitForLineAsync("WARN_c307 .*log_limit$");
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _first.Dispose();
        _other.Dispose();
    }

    private string Config(params (string, IPEndPoint)[] servers) => _relay.ConfigOf("retry = [\"1s\"]", servers);
}
