using System.Net;
using System.Net.Sockets;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class The_server_listens_on_several_addresses
{
    [Fact]
    public async Task Of_IPv4_and_IPv6()
    {
        using var sink = new Sink();
        await using var relay = new Relay(sink.EndPoint);
        IPEndPoint second = Loopback.FreeEndPoint();
        IPEndPoint third = FreeIPv6();
        string text = Files.Read(relay.ConfigFile);
        relay.WriteConfig(text.Replace($"\"{relay.EndPoint}\"", $"\"{relay.EndPoint}\", \"{second}\", \"{third}\"", StringComparison.Ordinal));
        Daemon server = await relay.StartServerAsync();
        await relay.StartClientAsync();

        foreach (IPEndPoint address in new[] { relay.EndPoint, second, third })
        {
            Assert.Equal(1, server.Lines.Count(line => line.Contains("INFO_a104", StringComparison.Ordinal) && line.EndsWith($" {address}", StringComparison.Ordinal)));
            using Sender sender = await Sender.ConnectAsync(address);
            await sender.HelloAsync();
            Assert.StartsWith("250 ", await sender.MailAsync("a@example.org", ["b@example.com"], Mail.Text($"to {address}")), StringComparison.Ordinal);
        }
        await sink.WaitForAsync(3);
        await server.WaitForLineAsync(@"INFO_a101 .*client=\[::1\]:");
    }

    private static IPEndPoint FreeIPv6()
    {
        using var probe = new Socket(AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp);
        probe.Bind(new IPEndPoint(IPAddress.IPv6Loopback, 0));
        return (IPEndPoint)probe.LocalEndPoint!;
    }
}
