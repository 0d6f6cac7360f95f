using System.Net;
using System.Net.Sockets;

namespace Mfrelay.Core;

/// <summary>
/// A tap on the shoulder between the processes: an empty datagram to /run/mfrelay/NAME.sock says "look at the queue table". It carries
/// nothing (B2), and a lost one costs no more than the poll interval of the one who sleeps.
/// </summary>
public sealed class WakeSocket : IDisposable
{
    public const string ClientName = "client";

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
    private readonly string _path;
    private readonly SocketAddress _address;
    private readonly bool _listens;

    private WakeSocket(string runDirectory, string name, bool listens)
    {
        _path = Path.Combine(runDirectory, $"{name}.sock");
        var endPoint = new UnixDomainSocketEndPoint(_path);
        _address = endPoint.Serialize();
        _listens = listens;
        _socket.Blocking = listens;
        if (!listens)
            return;
        File.Delete(_path);
        _socket.Bind(endPoint);
    }

    /// <summary>Listens under a name; a socket file that an earlier run left is replaced.</summary>
    public static WakeSocket Of(string runDirectory, string name) => new(runDirectory, name, listens: true);

    /// <summary>Wakes who listens under a name.</summary>
    public static WakeSocket To(string runDirectory, string name) => new(runDirectory, name, listens: false);

    /// <summary>Never blocks, never fails: who does not listen needs no waking.</summary>
    public void Wake()
    {
        try
        {
            _socket.SendTo([1], SocketFlags.None, _address);
        }
        catch (SocketException)
        {
            // Not running, or so many wakes wait there that one more says nothing new.
        }
    }

    /// <summary>Completes at the next wake; those that wait together count as one.</summary>
    public async ValueTask WaitAsync(CancellationToken cancel)
    {
        byte[] buffer = new byte[1];
        await _socket.ReceiveAsync(buffer, SocketFlags.None, cancel).ConfigureAwait(false);
        while (_socket.Available > 0)
            await _socket.ReceiveAsync(buffer, SocketFlags.None, cancel).ConfigureAwait(false);
    }

    public void Dispose()
    {
        _socket.Dispose();
        if (_listens)
            File.Delete(_path);
    }
}
