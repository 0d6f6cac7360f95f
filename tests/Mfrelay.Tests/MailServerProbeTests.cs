extern alias cli;

using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Mfrelay.Core;
using Xunit;
using Probe = cli::Mfrelay.MailServerProbe;

namespace Mfrelay.Tests;

public sealed class MailServerProbeTests
{
    private readonly List<string> _steps = [];

    [Fact]
    public async Task S02_A_check_learns_extensions_and_size_from_EHLO_and_quits()
    {
        await using var peer = new ScriptedPeer("""
            S: 220-welcome
            S: 220 peer.example ESMTP
            C: EHLO relay.example
            S: 250-peer.example
            S: 250-PIPELINING
            S: 250-size 35882577
            S: 250-AUTH LOGIN PLAIN
            S: 250 8BITMIME
            C: QUIT
            S: 221 bye
            ! eof
            """);
        HealthEvent result = await CheckAsync(peer.Server);
        Assert.Equal(new HealthEvent.CheckSucceeded(new Announcement("PIPELINING SIZE AUTH 8BITMIME", 35882577)), result);
        Assert.Equal($"connecting to 127.0.0.1:{peer.Server.Port}", _steps[0]);
        Assert.Equal(["< 250 8BITMIME", "> QUIT", "< 221 bye"], _steps[^3..]);
    }

    [Fact]
    public async Task S02_A_server_that_refuses_EHLO_is_asked_with_HELO()
    {
        await using var peer = new ScriptedPeer("""
            S: 220 old.example
            C: EHLO relay.example
            S: 500 what
            C: HELO relay.example
            S: 250 old.example
            C: QUIT
            S: 221 bye
            """);
        Assert.Equal(new HealthEvent.CheckSucceeded(Announcement.None), await CheckAsync(peer.Server));
    }

    [Fact]
    public async Task S05_Nobody_listening_is_a_failed_connection()
    {
        using var unused = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        unused.Bind(new IPEndPoint(IPAddress.Loopback, 0)); // bound and not listening: refused
        var server = new MailServer { Domain = "*", Host = "127.0.0.1", Port = ((IPEndPoint)unused.LocalEndPoint!).Port };
        Assert.Equal(new HealthEvent.ConnectFailed("Connection refused"), await CheckAsync(server));
    }

    [Theory]
    [InlineData("S: 554 no service here\nC: QUIT\nS: 221 bye", "greeting: 554 no service here")]
    [InlineData("S: 421 busy\n! close", "greeting: 421 busy")]
    [InlineData("! silence", "greeting: no answer within 250ms")]
    [InlineData("! close", "greeting: the connection was closed")]
    [InlineData("S: 220 hi\nC: EHLO relay.example\n! reset", "EHLO: Connection reset by peer")]
    [InlineData("S: SSH-2.0-OpenSSH_9.2\n! silence", "greeting: not a reply: SSH-2.0-OpenSSH_9.2")]
    [InlineData("S: 220-a\nS: 250 b\n! silence", "greeting: not a reply: 250 b")]
    [InlineData("! endless", "greeting: the reply is too long")]
    [InlineData("S: 220 hi\nC: EHLO relay.example\nS: 421 not now\nC: QUIT\n! close", "EHLO: 421 not now")]
    [InlineData("S: 220 hi\nC: EHLO relay.example\n! silence", "EHLO: no answer within 250ms")]
    [InlineData("S: 220 hi\nC: EHLO relay.example\nS: 250-half\n! silence", "EHLO: no answer within 250ms")]
    [InlineData("S: 220 hi\nC: EHLO relay.example\nS: 502 no\nC: HELO relay.example\nS: 502 no\nC: QUIT\nS: 221 bye", "HELO: 502 no")]
    public async Task S06_A_connection_without_good_greeting_and_EHLO_is_a_failed_dialog(string script, string error)
    {
        await using var peer = new ScriptedPeer(script);
        Assert.Equal(new HealthEvent.DialogFailed(error), await CheckAsync(peer.Server, Sending.Short));
    }

    [Fact]
    public async Task A_slow_drip_does_not_stretch_the_timeout_of_an_answer()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        Task serving = DripAsync(listener);
        var server = new MailServer { Domain = "*", Host = "127.0.0.1", Port = ((IPEndPoint)listener.LocalEndpoint).Port };
        Assert.Equal(new HealthEvent.DialogFailed("greeting: no answer within 250ms"), await CheckAsync(server, Sending.Short));
        await serving;
    }

    [Fact]
    public async Task Control_characters_of_a_peer_reach_neither_terminal_nor_health_table()
    {
        await using var peer = new ScriptedPeer("S: 554 \u001b[31mred\nC: QUIT\nS: 221 bye");
        Assert.Equal(new HealthEvent.DialogFailed("greeting: 554 ?[31mred"), await CheckAsync(peer.Server));
        Assert.DoesNotContain(_steps, step => step.Any(char.IsControl));
    }

    [Fact]
    public async Task A_cancelled_check_throws_and_says_nothing_about_the_mail_server()
    {
        await using var peer = new ScriptedPeer("! silence");
        using var cancel = new CancellationTokenSource();
        cancel.CancelAfter(50);
        var probe = new Probe("relay.example", TimeSpan.FromSeconds(30), TimeProvider.System);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => probe.RunAsync(peer.Server, null, cancel.Token));
    }

    [Fact]
    public async Task S02_STARTTLS_tells_the_version_and_when_the_certificate_expires()
    {
        using X509Certificate2 certificate = SelfSigned(new DateTimeOffset(2031, 2, 3, 4, 5, 6, TimeSpan.Zero));
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        Task<string> serving = ServeTlsAsync(listener, certificate);
        var server = new MailServer { Domain = "*", Host = "127.0.0.1", Port = ((IPEndPoint)listener.LocalEndpoint).Port };
        var success = Assert.IsType<HealthEvent.CheckSucceeded>(await CheckAsync(server));
        Assert.Equal(new Announcement("STARTTLS", 0, "TLSv1.3", new DateTimeOffset(2031, 2, 3, 4, 5, 6, TimeSpan.Zero)), success.Announced);
        Assert.Equal("QUIT\r\n", await serving);
    }

    [Theory]
    [InlineData("C: STARTTLS\nS: 454 not now\nC: QUIT\nS: 221 bye")]
    [InlineData("C: STARTTLS\nS: 220 go\n! close")]
    [InlineData("C: STARTTLS\nS: 220 go\nS: this is no TLS at all\n! silence")]
    [InlineData("C: STARTTLS\nS: 220 go\n! silence")]
    public async Task A_failing_handshake_is_noted_and_the_mail_server_counts_as_reached(string script)
    {
        await using var peer = new ScriptedPeer($"{ScriptedPeer.Hello.TrimEnd()}\nS: 250 STARTTLS\n{script}");
        var success = Assert.IsType<HealthEvent.CheckSucceeded>(await CheckAsync(peer.Server, Sending.Short));
        Assert.Equal(new Announcement("STARTTLS", 0, "failed"), success.Announced);
    }

    private Task<HealthEvent> CheckAsync(MailServer server, TimeSpan? timeout = null) =>
        new Probe("relay.example", timeout ?? TimeSpan.FromSeconds(10), TimeProvider.System)
            .RunAsync(server, _steps.Add, TestContext.Current.CancellationToken);

    private static async Task DripAsync(TcpListener listener)
    {
        using Socket socket = await listener.AcceptSocketAsync(TestContext.Current.CancellationToken);
        try
        {
            foreach (char c in "220-a\r\n220-b\r\n220-c\r\n220 d\r\n")
            {
                await socket.SendAsync(new[] { (byte)c }, TestContext.Current.CancellationToken);
                await Task.Delay(50, TestContext.Current.CancellationToken);
            }
        }
        catch (SocketException)
        {
        }
    }

    private static async Task<string> ServeTlsAsync(TcpListener listener, X509Certificate2 certificate)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        using Socket socket = await listener.AcceptSocketAsync(cancel);
        await using var plain = new NetworkStream(socket);
        await plain.WriteAsync("220 peer.example\r\n"u8.ToArray(), cancel);
        byte[] buffer = new byte[1000];
        Assert.Equal("EHLO relay.example\r\n", Encoding.ASCII.GetString(buffer, 0, await plain.ReadAsync(buffer, cancel)));
        await plain.WriteAsync("250-peer.example\r\n250 STARTTLS\r\n"u8.ToArray(), cancel);
        Assert.Equal("STARTTLS\r\n", Encoding.ASCII.GetString(buffer, 0, await plain.ReadAsync(buffer, cancel)));
        await plain.WriteAsync("220 go ahead\r\n"u8.ToArray(), cancel);
        await using var tls = new SslStream(plain);
        await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificate = certificate }, cancel);
        string last = Encoding.ASCII.GetString(buffer, 0, await tls.ReadAsync(buffer, cancel));
        await tls.WriteAsync("221 bye\r\n"u8.ToArray(), cancel);
        return last;
    }

    private static X509Certificate2 SelfSigned(DateTimeOffset expiry)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=peer.example", key, HashAlgorithmName.SHA256);
        using X509Certificate2 made = request.CreateSelfSigned(expiry.AddYears(-10), expiry);
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pfx), null);
    }
}
