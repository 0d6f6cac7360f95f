using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace Mfrelay.Client;

/// <summary>The connection below a session: a socket, or the TLS stream on it.</summary>
internal sealed class Wire(Socket socket, SslStream? tls = null) : IDisposable
{
    private readonly byte[] _earlyOctet = new byte[1];

    /// <summary>A read that began before anybody wanted to.</summary>
    private Task<int>? _early;

    public EndPoint? RemoteEndPoint { get; } = socket.RemoteEndPoint;

    /// <summary>"TLSv1.3"; empty in the clear.</summary>
    public string TlsVersion => tls is null ? "" : TlsPolicy.NameOf(tls.SslProtocol);

    /// <summary>
    /// Something waits to be read, or the peer has closed: for an idle session both mean that it is over. Below TLS what waits may be no more
    /// than a session ticket (RFC 8446 4.6.1), so a read is begun that takes it in: only when that ends is there something for us.
    /// </summary>
    public bool HasNews
    {
        get
        {
            if (tls is null || !(socket.Poll(0, SelectMode.SelectRead) || _early is not null))
                return tls is null && socket.Poll(0, SelectMode.SelectRead);
            _early ??= tls.ReadAsync(_earlyOctet).AsTask();
            return _early.IsCompleted;
        }
    }

    /// <summary>0: the peer has closed.</summary>
    public ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellation) =>
        tls is null ? socket.ReceiveAsync(buffer, SocketFlags.None, cancellation)
        : _early is null ? tls.ReadAsync(buffer, cancellation)
        : ReadEarlyAsync(buffer, cancellation);

    private async ValueTask<int> ReadEarlyAsync(Memory<byte> buffer, CancellationToken cancellation)
    {
        int count = await _early!.WaitAsync(cancellation);
        _early = null;
        _earlyOctet.AsSpan(0, count).CopyTo(buffer.Span);
        return count;
    }

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
