using System.Net;
using System.Net.Sockets;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class An_alert_is_told_once_over_a_restart : IAsyncLifetime
{
    private readonly Sink _deadSink = new(started: false);
    private readonly Relay _relay;
    private readonly TcpListener _webhook = new(IPAddress.Loopback, 0);

    public An_alert_is_told_once_over_a_restart()
    {
        _webhook.Start();
        _relay = new Relay(_deadSink.EndPoint);
        _relay.WriteConfig(_relay.ConfigOf("", ("dead.example", _deadSink.EndPoint))
            + $"\n[alert]\nqueue_size = 1\ninterval = \"1s\"\nexec = \"{Hook()}\"\nwebhook = \"http://{_webhook.LocalEndpoint}/\"\n");
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _deadSink.Dispose();
        _webhook.Stop();
    }

    [Fact]
    public async Task And_cleared_when_it_is_over_by_then()
    {
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("waits", "to@dead.example");
        await client.WaitForLineAsync("WARN_b231 Alert. queue_size queue ");
        Assert.Contains("\"state\":\"raised\"", await TakeAsync("503 Not now"), StringComparison.Ordinal);
        Assert.Equal(0, await client.StopAsync());

        // The webhook has not taken it yet: it is what the next process begins with. Nothing else is told again.
        client = await _relay.StartClientAsync();
        Assert.Contains("\"state\":\"raised\"", await TakeAsync("204 Taken"), StringComparison.Ordinal);
        await Task.Delay(2500, TestContext.Current.CancellationToken); // two looks
        Assert.Equal(0, await client.StopAsync());
        Assert.DoesNotContain(client.Lines, line => line.Contains("WARN_b231", StringComparison.Ordinal));

        using (var delete = new Daemon("mfrelay", ["queue", "delete", id, "--yes", "--config", _relay.ConfigFile]))
            Assert.Equal(0, await delete.WaitForExitAsync(60));
        client = await _relay.StartClientAsync();
        await client.WaitForLineAsync("INFO_b232 ");
        Assert.Contains("\"state\":\"cleared\"", await TakeAsync("204 Taken"), StringComparison.Ordinal);
        Assert.Equal(0, await client.StopAsync());
        Assert.Equal(["raised queue_size queue 1", "cleared queue_size queue 1"], await File.ReadAllLinesAsync(_relay.PathOf("told"), TestContext.Current.CancellationToken));
    }

    private string Hook()
    {
        string file = _relay.PathOf("hook");
        File.WriteAllText(file, $"#!/bin/sh\necho \"$@\" >>{_relay.PathOf("told")}\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return file;
    }

    /// <summary>One request, and the answer to it.</summary>
    private async Task<string> TakeAsync(string answer)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using TcpClient peer = await _webhook.AcceptTcpClientAsync(limit.Token);
        byte[] buffer = new byte[4096];
        int length = 0;
        while (!System.Text.Encoding.UTF8.GetString(buffer, 0, length).EndsWith('}'))
        {
            int more = await peer.GetStream().ReadAsync(buffer.AsMemory(length), limit.Token);
            Assert.NotEqual(0, more);
            length += more;
        }
        await peer.GetStream().WriteAsync(System.Text.Encoding.ASCII.GetBytes($"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), limit.Token);
        return System.Text.Encoding.UTF8.GetString(buffer, 0, length);
    }
}
