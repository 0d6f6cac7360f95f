using System.Net;
using System.Net.Sockets;
using System.Text;
using Xunit;

namespace Mfrelay.IntegrationTests;

/// <summary>Commands until nothing goes in any more, and no reply read.</summary>
public sealed class A_client_that_takes_no_replies_holds_little_and_not_for_long : IAsyncDisposable
{
    private const int Warm = 20;
    private const int Counted = 40;

    private static readonly byte[] Commands = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("EHLO client.example\r\n", 5000)));

    private readonly Sink _sink = new();
    private readonly List<Socket> _clients = [];

    [Fact]
    public async Task Its_connection_is_closed_when_its_time_is_over()
    {
        await using Relay relay = RelayWith("command_timeout = \"1s\"");
        await relay.StartServerAsync();
        Socket client = await DeafAsync(relay.EndPoint);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        await Assert.ThrowsAsync<SocketException>(async () =>
        {
            while (true)
                await client.SendAsync(Commands, limit.Token);
        });
    }

    [Fact]
    public async Task The_server_reads_no_more_than_it_has_room_for()
    {
        await using Relay relay = RelayWith("");
        Daemon server = await relay.StartServerAsync();
        await Task.WhenAll(Enumerable.Range(0, Warm).Select(_ => DeafAsync(relay.EndPoint)));
        long before = server.ResidentKib;
        await Task.WhenAll(Enumerable.Range(0, Counted).Select(_ => DeafAsync(relay.EndPoint)));
        Assert.InRange((server.ResidentKib - before) / Counted, 0, 600);
    }

    public ValueTask DisposeAsync()
    {
        foreach (Socket client in _clients)
            client.Dispose();
        _sink.Dispose();
        return ValueTask.CompletedTask;
    }

    private Relay RelayWith(string server) => new(_sink.EndPoint, $"max_idle_commands = 100000\nmax_commands = 0\n{server}");

    private async Task<Socket> DeafAsync(IPEndPoint relay)
    {
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
        lock (_clients)
            _clients.Add(client);
        await client.ConnectAsync(relay);
        try
        {
            while (true)
            {
                using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
                await client.SendAsync(Commands, limit.Token);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException)
        {
            return client; // full, or closed already
        }
    }
}
