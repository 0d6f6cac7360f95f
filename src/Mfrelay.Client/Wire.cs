using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace Mfrelay.Client;

/// <summary>The connection below a session: a socket, or the TLS stream on it.</summary>
internal sealed class Wire(Socket socket, Stream? tls = null) : IDisposable
{
    public EndPoint? RemoteEndPoint { get; } = socket.RemoteEndPoint;

    public EndPoint? LocalEndPoint { get; } = socket.LocalEndPoint;

    /// <summary>
    /// Something waits to be read, or the peer has closed: for an idle session both mean that it is over. Below TLS it may also be a
    /// session ticket (RFC 8446 4.6.1).
    /// </summary>
    public bool HasNews => socket.Poll(0, SelectMode.SelectRead);

    /// <summary>0: the peer has closed.</summary>
    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellation) =>
        tls is null ? socket.ReceiveAsync(buffer, SocketFlags.None, cancellation) : tls.ReadAsync(buffer, cancellation);

    /// <summary>Returns when the kernel has taken all of it.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
    {
        if (tls is not null)
        {
            await tls.WriteAsync(bytes, cancellation);
            return;
        }
        while (!bytes.IsEmpty)
            bytes = bytes[await socket.SendAsync(bytes, SocketFlags.None, cancellation)..];
    }

    public void Dispose()
    {
        tls?.Dispose();
        socket.Dispose();
    }
}
