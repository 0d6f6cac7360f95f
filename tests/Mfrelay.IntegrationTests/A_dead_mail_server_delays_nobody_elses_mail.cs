using System.Net;
using System.Net.Sockets;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_dead_mail_server_delays_nobody_elses_mail : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly TcpListener _silent = new(Loopback.FreeEndPoint());
    private readonly Relay _relay;

    public A_dead_mail_server_delays_nobody_elses_mail() => _relay = new Relay(_sink.EndPoint);

    [Fact]
    public async Task With_a_long_queue_for_a_silent_one_the_other_domain_gets_its_mail_at_once()
    {
        _silent.Start();
        _relay.WriteConfig(_relay.ConfigOf("greeting_timeout = \"30s\"", ("dead.example", (IPEndPoint)_silent.LocalEndpoint), ("*", _sink.EndPoint))
            .Replace("[client]", "check_timeout = \"1s\"\n[client]", StringComparison.Ordinal));
        await _relay.StartServerAsync();
        using Sender sender = await _relay.ConnectAsync();
        await sender.HelloAsync();
        for (int i = 0; i < 200; i++)
            await sender.MailAsync("a@example.org", [$"u{i}@dead.example"], Mail.Text("stuck"));
        await _relay.StartClientAsync();
        for (int i = 0; i < 20; i++)
            await sender.MailAsync("a@example.org", [$"u{i}@live.example"], Mail.Text("quick"));
        await _sink.WaitForAsync(20, seconds: 10);
    }

    [Fact]
    public async Task The_51st_relay_of_a_loop_sends_it_back()
    {
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        using Sender sender = await _relay.ConnectAsync();
        await sender.HelloAsync();
        string loop = string.Concat(Enumerable.Repeat("Received: from a by b\r\n", 50));
        await sender.MailAsync("a@example.org", ["u@example.com"], System.Text.Encoding.ASCII.GetBytes(loop + "Subject: x\r\n\r\nround\r\n"));
        await client.WaitForLineAsync("WARN_b108 .*status=5.4.6");
        await _sink.WaitForAsync(1);
        Assert.Equal("", _sink.Mail[0].From);
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
        _silent.Dispose();
    }
}
