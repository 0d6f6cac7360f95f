using System.Net;
using System.Net.Sockets;
using Mfrelay.Server;
using Microsoft.AspNetCore.Connections;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>Sockets passed by the service manager (sd_listen_fds(3)), and the watch over those that take connections.</summary>
public sealed class ListenSocketsTests
{
    [Fact]
    public void A_socket_that_was_passed_is_used_for_its_address_and_others_are_bound()
    {
        (int descriptor, IPEndPoint address) = Passed();
        ListenSockets sockets = ListenSockets.Of("42", "1", "smtp", self: 42, first: descriptor);
        Assert.Equal([$"{address} (smtp)"], sockets.Unused);
        using Socket own = sockets.Take(new IPEndPoint(IPAddress.Parse("127.0.0.7"), 0));
        Assert.Single(sockets.Unused);
        using Socket passed = sockets.Take(address);
        Assert.Equal(descriptor, passed.Handle);
        Assert.Empty(sockets.Unused);
        using Socket client = Connect(address);
        using Socket accepted = passed.Accept();
        Assert.Equal(client.LocalEndPoint, accepted.RemoteEndPoint);
    }

    [Theory]
    [InlineData(null, null)]
    [InlineData("41", "1")] // passed to the process that started this one
    [InlineData("42", "many")]
    [InlineData("42", "0")]
    public void Nothing_is_taken_that_was_not_passed_to_this_process(string? process, string? count) =>
        Assert.Empty(ListenSockets.Of(process, count, "smtp", self: 42).Unused);

    [Fact]
    public async Task A_listener_that_has_ended_is_noticed()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        var sockets = new ClientSockets(ListenSockets.Of(null, null, null, self: 42));
        await using IConnectionListener listener = await sockets.BindAsync(new IPEndPoint(IPAddress.Parse("127.0.0.7"), 0), cancel);
        Assert.True(sockets.AreAllAccepting());
        ValueTask<ConnectionContext?> accepting = listener.AcceptAsync(cancel);
        for (int i = 0; i < 3; i++)
            Assert.True(sockets.AreAllAccepting());
        using (Socket client = Connect((IPEndPoint)listener.EndPoint))
        {
            ConnectionContext? taken = await accepting;
            Assert.Equal(client.LocalEndPoint, taken!.RemoteEndPoint);
            await taken.DisposeAsync();
        }
        Assert.True(sockets.AreAllAccepting());
        Assert.False(sockets.AreAllAccepting());
    }

    /// <summary>A listening socket that nobody owns but its number.</summary>
    private static (int Descriptor, IPEndPoint Address) Passed()
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.7"), 0));
        socket.Listen();
        var address = (IPEndPoint)socket.LocalEndPoint!;
        int descriptor = (int)socket.Handle;
        socket.SafeHandle.SetHandleAsInvalid();
        return (descriptor, address);
    }

    private static Socket Connect(IPEndPoint address)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Connect(address);
        return socket;
    }
}
