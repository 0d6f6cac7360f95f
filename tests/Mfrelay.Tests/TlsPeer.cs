using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Tests;

/// <summary>
/// A mail server on 127.0.0.1 with real TLS and AUTH, for any number of connections. Certificates: an authority made in the test, and one for
/// 127.0.0.1 that it has signed.
/// </summary>
internal sealed class TlsPeer : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _serving;

    public TlsPeer()
    {
        _listener.Start();
        _serving = AcceptAsync();
    }

    public bool Implicit { get; init; }

    /// <summary>What follows the 220 to STARTTLS in the same segment, in the clear.</summary>
    public string Behind220 { get; init; } = "";

    /// <summary>The reply to STARTTLS.</summary>
    public string StartTlsReply { get; init; } = "220 go";

    /// <summary>Closes instead of a handshake.</summary>
    public bool NoHandshake { get; init; }

    public bool WantsClientCertificate { get; init; }

    public SslProtocols Protocols { get; init; } = SslProtocols.None;

    public TestAuthority Authority { get; init; } = new();

    public string AuthMechanisms { get; init; } = "PLAIN LOGIN CRAM-MD5 XOAUTH2";

    /// <summary>Each line with "tls " before it when it came under TLS.</summary>
    public ConcurrentQueue<string> Lines { get; } = [];

    public string? ClientCertificate { get; private set; }

    public MailServer Server => new() { Domain = "b.example", Host = "127.0.0.1", Port = ((IPEndPoint)_listener.LocalEndpoint).Port };

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        try
        {
            await _serving;
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or InvalidOperationException)
        {
        }
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            using Socket socket = await _listener.AcceptSocketAsync(_stop.Token);
            try
            {
                await ServeAsync(new NetworkStream(socket));
            }
            catch (Exception e) when (e is IOException or AuthenticationException)
            {
            }
        }
    }

    private async Task ServeAsync(Stream plain)
    {
        Stream stream = Implicit ? await SecureAsync(plain) : plain;
        await SayAsync(stream, "220 peer.example ESMTP");
        while (await ReadLineAsync(stream) is { } line)
        {
            bool tls = stream is SslStream;
            Lines.Enqueue((tls ? "tls " : "") + line);
            if (line.StartsWith("EHLO", StringComparison.Ordinal))
                await SayAsync(stream, $"250-peer.example\r\n{(tls ? "" : "250-STARTTLS\r\n")}250 AUTH {AuthMechanisms}");
            else if (line.Equals("STARTTLS", StringComparison.Ordinal))
            {
                await SayAsync(stream, StartTlsReply + (Behind220.Length > 0 ? "\r\n" + Behind220 : ""));
                if (NoHandshake)
                    return;
                if (StartTlsReply.StartsWith('2'))
                    stream = await SecureAsync(plain);
            }
            else if (line.StartsWith("AUTH ", StringComparison.Ordinal))
                await SayAsync(stream, await LogInAsync(stream, line) ? "235 2.7.0 ok" : "535 5.7.8 no");
            else
                await SayAsync(stream, line.Equals("DATA", StringComparison.Ordinal) ? "354 go" : line.Equals("QUIT", StringComparison.Ordinal) ? "221 bye" : "250 ok");
        }
    }

    private async Task<bool> LogInAsync(Stream stream, string line)
    {
        string[] words = line.Split(' ');
        switch (words[1])
        {
            case "PLAIN":
                return Text(words[2]) is "\0user\0secret";
            case "XOAUTH2":
                return Text(words[2]) is "user=user\u0001auth=Bearer secret\u0001\u0001";
            case "LOGIN":
                string user = words.Length > 2 ? words[2] : await AskAsync("Username:");
                return Text(user) is "user" && Text(await AskAsync("Password:")) is "secret";
            default:
#pragma warning disable CA5351 // CRAM-MD5 is what it is
                byte[] digest = HMACMD5.HashData("secret"u8.ToArray(), "<1@peer>"u8.ToArray());
#pragma warning restore CA5351
                return Text(await AskAsync("<1@peer>")) == "user " + Convert.ToHexStringLower(digest);
        }

        async Task<string> AskAsync(string challenge)
        {
            await SayAsync(stream, "334 " + Convert.ToBase64String(Encoding.ASCII.GetBytes(challenge)));
            return await ReadLineAsync(stream) ?? "";
        }

        static string Text(string base64) => Encoding.UTF8.GetString(Convert.FromBase64String(base64));
    }

    private async Task<SslStream> SecureAsync(Stream plain)
    {
        var tls = new SslStream(plain);
        await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
        {
            ServerCertificate = Authority.ForServer,
            EnabledSslProtocols = Protocols,
            ClientCertificateRequired = WantsClientCertificate,
#pragma warning disable CA5359 // a test that looks at what came
            RemoteCertificateValidationCallback = (_, certificate, _, _) =>
            {
                ClientCertificate = certificate?.Subject;
                return true;
            },
#pragma warning restore CA5359
        }, _stop.Token);
        return tls;
    }

    private async Task SayAsync(Stream stream, string line) => await stream.WriteAsync(Encoding.ASCII.GetBytes(line + "\r\n"), _stop.Token);

    private async Task<string?> ReadLineAsync(Stream stream)
    {
        var line = new List<byte>();
        byte[] octet = new byte[1];
        while (await stream.ReadAsync(octet, _stop.Token) == 1)
        {
            if (octet[0] == '\n')
                return Encoding.ASCII.GetString([.. line]).TrimEnd('\r');
            line.Add(octet[0]);
        }
        return null;
    }
}

/// <summary>An authority and what it has signed, made anew for each test.</summary>
internal sealed class TestAuthority
{
    private readonly X509Certificate2 _authority;

    public TestAuthority(string address = "127.0.0.1", DateTimeOffset? expiry = null)
    {
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Test Authority", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        _authority = request.CreateSelfSigned(now.AddYears(-3), now.AddYears(10));
        ForServer = Sign("CN=peer.example", address, now.AddYears(-2), expiry ?? now.AddYears(1));
    }

    public X509Certificate2 ForServer { get; }

    public string Pem => _authority.ExportCertificatePem();

    public string Fingerprint => Convert.ToHexString(ForServer.GetCertHash(HashAlgorithmName.SHA256));

    private X509Certificate2 Sign(string name, string address, DateTimeOffset from, DateTimeOffset to)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Parse(address));
        request.CertificateExtensions.Add(names.Build());
        using X509Certificate2 signed = request.Create(_authority, from, to, [1, 2, 3]);
        using X509Certificate2 whole = signed.CopyWithPrivateKey(key);
        return X509CertificateLoader.LoadPkcs12(whole.Export(X509ContentType.Pfx), null, X509KeyStorageFlags.Exportable);
    }
}
