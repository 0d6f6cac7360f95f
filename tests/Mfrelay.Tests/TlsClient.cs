using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Mfrelay.Tests;

/// <summary>A client's TLS on a session in memory.</summary>
internal sealed class TlsClient : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(10);

    private readonly SslStream _tls;
    private readonly StreamReader _reader;

    private TlsClient(SslStream tls) => (_tls, _reader) = (tls, new StreamReader(tls, Encoding.Latin1));

    public X509Certificate2 ServerCertificate => (X509Certificate2)_tls.RemoteCertificate!;

    public static async Task<TlsClient> StartAsync(ReceivingSession session, string name = "relay.example", X509Certificate2? own = null)
    {
        var tls = new SslStream(new TwoStreams(session.Streams));
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = name,
#pragma warning disable CA5359 // which one it is, is what tests ask
            RemoteCertificateValidationCallback = static (_, _, _, _) => true,
#pragma warning restore CA5359
            ClientCertificates = own is null ? null : [own],
        }).WaitAsync(Limit);
        return new TlsClient(tls);
    }

    public async Task<string> AskAsync(string line)
    {
        await SendAsync(line + "\r\n");
        return await ReplyAsync();
    }

    public Task SendAsync(string text) => _tls.WriteAsync(Encoding.Latin1.GetBytes(text)).AsTask();

    public Task<string> ReplyAsync() => ReplyText.ReadAsync(_reader, Limit);

    public void Dispose()
    {
        _reader.Dispose();
        _tls.Dispose();
    }

    private sealed class TwoStreams((Stream FromServer, Stream ToServer) streams) : Stream
    {
        public override bool CanRead => true;
        public override bool CanWrite => true;
        public override bool CanSeek => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => streams.FromServer.ReadAsync(buffer, cancellationToken);
        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => streams.ToServer.WriteAsync(buffer, cancellationToken);
        public override Task FlushAsync(CancellationToken cancellationToken) => streams.ToServer.FlushAsync(cancellationToken);
        public override void Flush() => streams.ToServer.Flush();
        public override int Read(byte[] buffer, int offset, int count) => streams.FromServer.Read(buffer, offset, count);
        public override void Write(byte[] buffer, int offset, int count) => streams.ToServer.Write(buffer, offset, count);
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
