using System.Net;
using System.Net.Sockets;

namespace Mfrelay.Client;

/// <summary>The connection below a session: a socket, or the TLS stream on it.</summary>
internal sealed class Wire(Socket socket, Stream? tls = null) : IDisposable
{
    public EndPoint? RemoteEndPoint { get; } = socket.RemoteEndPoint;

    public EndPoint? LocalEndPoint { get; } = socket.LocalEndPoint;

    /// <summary>Something waits to be read, or the peer has closed: for an idle session both mean that it is over.</summary>
    public bool HasNews => socket.Poll(0, SelectMode.SelectRead);

    /// <summary>0: the peer has closed.</summary>
    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellation) =>
        tls is null ? socket.ReceiveAsync(buffer, SocketFlags.None, cancellation) : tls.ReadAsync(buffer, cancellation);

    /// <summary>Returns when the kernel has taken all of it.</summary>
    public ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
    {
        if (tls is not null)
            return tls.WriteAsync(bytes, cancellation);
        ValueTask<int> send = socket.SendAsync(bytes, SocketFlags.None, cancellation);
        return send.IsCompletedSuccessfully && send.Result == bytes.Length ? default : RestAsync(send, bytes, cancellation);
    }

    public void Dispose()
    {
        tls?.Dispose();
        socket.Dispose();
    }

    private async ValueTask RestAsync(ValueTask<int> send, ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
    {
        for (int sent = await send; sent < bytes.Length; sent += await socket.SendAsync(bytes[sent..], SocketFlags.None, cancellation))
        {
        }
    }
}
