using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Mfrelay.Server;

/// <summary>
/// The listening sockets: those that the service manager holds for us (sd_listen_fds(3)), which stay open while the service restarts and
/// need no capability for port 25; and those of the config that it did not pass, which are bound here.
/// </summary>
internal sealed class ListenSockets
{
    private const int FirstDescriptor = 3;

    private readonly List<(string Name, Socket Socket)> _passed = [];

    /// <summary>What the environment says was passed to this process.</summary>
    public static ListenSockets FromEnvironment()
    {
        ListenSockets sockets = Of(
            Environment.GetEnvironmentVariable("LISTEN_PID"), Environment.GetEnvironmentVariable("LISTEN_FDS"),
            Environment.GetEnvironmentVariable("LISTEN_FDNAMES"), Environment.ProcessId);
        foreach (string variable in (string[])["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"])
            Environment.SetEnvironmentVariable(variable, null); // not for children
        return sockets;
    }

    internal static ListenSockets Of(string? process, string? count, string? names, int self, int first = FirstDescriptor)
    {
        var sockets = new ListenSockets();
        if (!string.Equals(process, self.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)
            || !int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out int n))
            return sockets;
        string[] name = names?.Split(':') ?? [];
        // The close-on-exec flag stays off: by it .NET tells a socket that is others' too, which it must close without shutting it down.
        for (int i = 0; i < n; i++)
            sockets._passed.Add((i < name.Length ? name[i] : "unknown", new Socket(new SafeSocketHandle(first + i, ownsHandle: true))));
        return sockets;
    }

    /// <summary>Names and addresses of what was passed and no listener took: connections there would wait for nobody.</summary>
    public IEnumerable<string> Unused => _passed.Select(passed => $"{passed.Socket.LocalEndPoint} ({passed.Name})");

    /// <summary>The socket that was passed for an address, or one bound now. Throws <see cref="ListenException"/>.</summary>
    public Socket Take(EndPoint endPoint)
    {
        int passed = _passed.FindIndex(passed => endPoint.Equals(passed.Socket.LocalEndPoint));
        if (passed < 0)
            return Bind((IPEndPoint)endPoint);
        Socket socket = _passed[passed].Socket;
        _passed.RemoveAt(passed);
        return socket;
    }

    // 0.0.0.0 and [::] are two listeners: an IPv6 one does not take IPv4 as well.
    private static Socket Bind(IPEndPoint endPoint)
    {
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (endPoint.AddressFamily == AddressFamily.InterNetworkV6)
                socket.DualMode = false;
            socket.Bind(endPoint);
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new ListenException($"cannot listen on {endPoint}: {e.Message}. {e.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse =>
                    $"Another program has this port (ss -ltnp 'sport = :{endPoint.Port}' shows which): stop it, or change server.listen",
                SocketError.AccessDenied =>
                    "Ports below 1024 are bound by mf-smtp-server.socket (systemctl status mf-smtp-server.socket tells what hinders it; "
                    + $"systemctl edit mf-smtp-server.socket adds ListenStream={endPoint}). Or change server.listen",
                _ => "Change server.listen",
            }}", e);
        }
    }
}
