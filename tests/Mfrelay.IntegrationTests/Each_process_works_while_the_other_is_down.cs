using Xunit;

namespace Mfrelay.IntegrationTests;

/// <summary>B1.</summary>
public sealed class Each_process_works_while_the_other_is_down : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly Relay _relay;

    public Each_process_works_while_the_other_is_down() => _relay = new Relay(_sink.EndPoint);

    [Fact]
    public async Task The_server_accepts_without_a_client_and_the_client_delivers_without_a_server()
    {
        Daemon server = await _relay.StartServerAsync();
        await _relay.SendAsync("one");
        await _relay.SendAsync("two");
        Assert.Equal(0, await server.StopAsync());
        Assert.Empty(_sink.Mail);

        await _relay.StartClientAsync();
        await _sink.WaitForAsync(2);
        Assert.Equal(["one", "two"], _sink.Mail.Select(Mail.TextOf).Order(StringComparer.Ordinal), StringComparer.Ordinal);
    }

    [Fact]
    public async Task Both_go_on_after_either_was_restarted()
    {
        Daemon server = await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await _relay.SendAsync("one");
        await _sink.WaitForAsync(1);
        Assert.Equal(0, await client.StopAsync());
        await _relay.SendAsync("two");
        client = await _relay.StartClientAsync();
        await _sink.WaitForAsync(2);
        Assert.Equal(0, await server.StopAsync());
        server = await _relay.StartServerAsync();
        await _relay.SendAsync("three");
        await _sink.WaitForAsync(3);

        await _relay.StopAllAsync();
        Assert.Equal(["one", "two", "three"], _sink.Mail.Select(Mail.TextOf), StringComparer.Ordinal);
        Assert.Equal(0, server.Count("WARN|ERROR") + client.Count("WARN|ERROR"));
    }

    [Fact]
    public async Task Mail_accepted_in_the_last_moment_of_a_server_waited_for_its_next_start_when_the_mail_server_was_down()
    {
        _sink.Stop();
        Daemon server = await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await _relay.SendAsync("first");
        await client.WaitForLineAsync("INFO_b211");
        await _relay.SendAsync("second");
        await server.KillAsync();
        _sink.Start();
        await _sink.WaitForAsync(2);
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }
}
