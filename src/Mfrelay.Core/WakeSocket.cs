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
    private readonly string? _bound;

    /// <summary>One that only sends.</summary>
    public WakeSocket() => _socket.Blocking = false;

    /// <summary>One that listens under a name; a socket file that an earlier run left is replaced.</summary>
    public WakeSocket(string runDirectory, string name)
    {
        _bound = PathOf(runDirectory, name);
        File.Delete(_bound);
        _socket.Bind(new UnixDomainSocketEndPoint(_bound));
    }

    /// <summary>Never blocks, never fails: who does not listen needs no waking.</summary>
    public void Wake(string runDirectory, string name)
    {
        try
        {
            _socket.SendTo([1], SocketFlags.None, new UnixDomainSocketEndPoint(PathOf(runDirectory, name)));
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
        if (_bound is not null)
            File.Delete(_bound);
    }

    private static string PathOf(string runDirectory, string name) => Path.Combine(runDirectory, $"{name}.sock");
}
