using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace Mfrelay.IntegrationTests;

internal static class Loopback
{
    /// <summary>An address of 127.0.0.0/8 by chance, and a port that is free there. Connections go out from 127.0.0.1, so nobody takes it.</summary>
    public static IPEndPoint FreeEndPoint()
    {
        var address = new IPAddress([127, (byte)RandomNumberGenerator.GetInt32(1, 255), (byte)RandomNumberGenerator.GetInt32(256), (byte)RandomNumberGenerator.GetInt32(1, 255)]);
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        probe.Bind(new IPEndPoint(address, 0));
        return (IPEndPoint)probe.LocalEndPoint!;
    }
}
