using System.IO.Pipelines;
using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>What comes before and between: the PROXY header, the limits of the client, TLS, AUTH, another client by XCLIENT.</summary>
internal sealed partial class SmtpConnection
{
    private SslStream? _tls;
    private ClientRecord? _record;

    /// <summary>Counts the session in. False: the client has reached a limit and hears so.</summary>
    private async ValueTask<bool> EnterAsync(ListenerPolicy policy)
    {
        ServerSettings limits = Limits;
        _record = _services.Clients.Enter(_session.Peer.Address, limits, out Reply? refusal);
        if (refusal is null)
        {
            if (policy.OffersAuth)
                (_session.MayAuthenticate, _session.Users) = (MayAuthenticate, _services.Users.Current);
            if (limits.MaxMessageRate > 0 && _record is not null)
                _session.MayBegin = MayBegin;
            return true;
        }
        _services.CountRefused(refusal, _session.Peer.Address);
        if (policy.Tls != ListenerTls.Implicit)
            Write(refusal);
        return await FlushAsync() && false;
    }

    private bool MayBegin() => _record?.TakeMessage(Limits.MaxMessageRate) ?? true;

    /// <summary>The room is there for what is announced, and what is to be kept free besides.</summary>
    private bool HasRoom(long? size)
    {
        if (Limits.MinFreeSpace == 0 || _services.Queue.FreeSpace.Octets - (size ?? 0) >= Limits.MinFreeSpace)
            return true;
        _services.Queue.Spool.SealSoon();
        return false;
    }

    private bool MayAuthenticate() => _record?.MayAuthenticate(Limits.MaxAuthFailuresPerClient) ?? true;

    /// <summary>False: there was none, or it came from somebody who may not send one. The connection ends without a word.</summary>
    private async Task<bool> TakeProxyHeaderAsync()
    {
        if (!_services.Admission().IsTrustedProxy(_session.Peer.Address))
        {
            // Nothing limits the connections of whoever this is: nobody has counted it in yet.
            if (_services.LimitLog.IsNews("proxy", _session.Peer.Address))
                _services.Log.ProxyRefused(_client, "not one of server.proxy_from");
            return false;
        }
        while (true)
        {
            switch (ProxyHeader.Parse(_input, out long length, out IPEndPoint? client))
            {
                case ProxyResult.Bad:
                    _services.Log.ProxyRefused(_client, "no PROXY header");
                    return false;
                case ProxyResult.NeedMore when await FillAsync(Limits.HandshakeTimeout, command: true):
                    continue;
                case ProxyResult.NeedMore:
                    // A balancer looks whether the port answers and goes away: not worth a line.
                    if (_input.Length > 0 || _timedOut)
                        _services.Log.ProxyRefused(_client, _timedOut ? "timeout" : "end of stream");
                    return false;
                case ProxyResult.Proxied:
                    SetClient(client!);
                    _session.Peer.Origin = _session.Peer.Address;
                    break;
                case ProxyResult.Local:
                    break;
            }
            _input = _input.Slice(length);
            return true;
        }
    }

    private void SetClient(IPEndPoint client)
    {
        IPAddress address = HostName.Plain(client.Address);
        _session.Peer.Address = address;
        _client = new IPEndPoint(address, client.Port).ToString();
    }

    /// <summary>XCLIENT has been obeyed: the limits are those of the new client.</summary>
    private async ValueTask<Step> ChangeClientAsync(Step step)
    {
        _client = new IPEndPoint(_session.Peer.Address, 0).ToString();
        _record?.Leave();
        (_record, _session.MayBegin) = (null, null);
        return await EnterAsync(Policy) ? step : default;
    }

    /// <summary>STARTTLS. A step without a reply: go on in TLS, or, when it says Close, end.</summary>
    private async Task<Step> StartTlsAsync(Step step)
    {
        if (_services.Certificates.Options is null)
            return new Step(Replies.NoTlsNow);
        DropPlaintext();
        Write(step.Reply);
        return await FlushAsync() && await BeginTlsAsync() ? new Step(null!, Next.StartTls) : new Step(null!, Next.Close);
    }

    /// <summary>
    /// Whatever came behind STARTTLS came without TLS, from whoever can write into the connection, and must never be read as if it had come
    /// inside it (CVE-2011-0411). Before our 220 no client has a reason to send anything.
    /// </summary>
    private void DropPlaintext()
    {
        long dropped = _input.Length;
        _pipe.Input.AdvanceTo(_input.End);
        for (bool more = true; more && _pipe.Input.TryRead(out ReadResult result);)
        {
            more = !result.Buffer.IsEmpty;
            dropped += result.Buffer.Length;
            _pipe.Input.AdvanceTo(result.Buffer.End);
        }
        (_input, _hasRead) = (default, false);
        if (dropped > 0)
            _services.Log.PlaintextDropped(_client, dropped);
    }

    private async Task<bool> BeginTlsAsync()
    {
        if (_services.Certificates.Options is null)
        {
            _services.Log.TlsFailed(_client, "no certificate");
            return false;
        }
        if (_hasRead)
        {
            // Behind a PROXY header: the beginning of the handshake.
            _pipe.Input.AdvanceTo(_input.Start);
            (_input, _hasRead) = (default, false);
        }
        var tls = new SslStream(new PipeStream(_pipe), leaveInnerStreamOpen: false);
        using var limit = new CancellationTokenSource(Limits.HandshakeTimeout, _services.Time);
        try
        {
            await tls.AuthenticateAsServerAsync(
                static (_, hello, certificates, _) => ((CertificateStore)certificates!).ForAsync(hello.ServerName), _services.Certificates, limit.Token);
        }
        catch (Exception e) when (e is AuthenticationException or IOException or OperationCanceledException or InvalidOperationException)
        {
            if (limit.IsCancellationRequested)
                _services.LimitLog.Reached("server.handshake_timeout", _session.Peer.Address);
            _services.Log.TlsFailed(_client, limit.IsCancellationRequested ? "timeout" : (e.InnerException ?? e).Message);
            _cannotSend = true;
            await tls.DisposeAsync();
            return false;
        }
        _tls = tls;
        _pipe = new TlsPipe(tls);
        _session.TlsStarted(tls.RemoteCertificate is { } certificate
            && _services.Admission().IsTrustedCertificate(certificate.GetCertHashString(HashAlgorithmName.SHA256)));
        return true;
    }

    /// <summary>Tells the client that this is the end, and no attacker cut it (RFC 8446 6.1).</summary>
    private async Task EndTlsAsync()
    {
        try
        {
            if (!_cannotSend)
                await _tls!.ShutdownAsync().WaitAsync(Limits.CommandTimeout, _services.Time);
        }
        catch (Exception e) when (e is IOException or InvalidOperationException or TimeoutException)
        {
            // It is gone already, or takes nothing any more.
            _cannotSend = true;
        }
        await _tls!.DisposeAsync();
    }

    /// <summary>Finds out whether what the client claimed is true. Failures are slow, counted and logged; successes are logged.</summary>
    private async Task<Step> AuthenticateAsync()
    {
        AuthClaim claim = _session.Claim!;
        UserTable users = _services.Users.Current() ?? UserTable.Empty;
        bool known = users.Find(claim.Name) is not null;
        bool isUser = claim.IsProven;
        if (claim.Password is not null)
        {
            isUser = await _services.Users.IsPasswordAsync(users, claim.Name, claim.Password) && known;
            CryptographicOperations.ZeroMemory(claim.Password);
        }
        Step step = _session.EndOfAuth(isUser);
        // A name that is no user's may be a password in the wrong field.
        string name = known ? claim.Name : "?";
        if (isUser)
        {
            _services.Log.Authenticated(_client, name, claim.Mechanism);
            return step;
        }
        _record?.AuthFailed();
        _services.Log.AuthFailed(_client, name, claim.Mechanism);
        if (step.Reply.Limit is not null)
            _services.LimitLog.Reached(step.Reply.Limit, _session.Peer.Address);
        await PauseAsync(Limits.AuthFailureDelay);
        return step with { Slow = false };
    }

    /// <summary>A pipe as the stream that TLS is put on.</summary>
    private sealed class PipeStream(IDuplexPipe pipe) : Stream
    {
        private readonly Stream _input = pipe.Input.AsStream(leaveOpen: true);
        private readonly Stream _output = pipe.Output.AsStream(leaveOpen: true);

        public override bool CanRead => true;
        public override bool CanWrite => true;
        public override bool CanSeek => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => _input.ReadAsync(buffer, cancellationToken);

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            _input.ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => _output.WriteAsync(buffer, cancellationToken);

        public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            _output.WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override Task FlushAsync(CancellationToken cancellationToken) => _output.FlushAsync(cancellationToken);
        public override void Flush() => throw new NotSupportedException();
        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
    }

    /// <summary>TLS as a pipe again. Reads of nothing wait without a buffer, so an idle session holds none.</summary>
    private sealed class TlsPipe(SslStream tls) : IDuplexPipe
    {
        public PipeReader Input { get; } = PipeReader.Create(tls, new StreamPipeReaderOptions(leaveOpen: true, useZeroByteReads: true));
        public PipeWriter Output { get; } = PipeWriter.Create(tls, new StreamPipeWriterOptions(leaveOpen: true));
    }
}
