extern alias cli;

using System.Net;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;
using Probe = cli::Mfrelay.MailServerProbe;

namespace Mfrelay.Tests;

public sealed class OutboundTlsTests : IDisposable
{
    private readonly TestDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(TlsMode.None, "")]
    [InlineData(TlsMode.Opportunistic, "TLSv1.3")]
    [InlineData(TlsMode.Required, "TLSv1.3")]
    [InlineData(TlsMode.Implicit, "TLSv1.3")]
    public async Task Each_mode_opens_a_session_as_it_says(TlsMode mode, string version)
    {
        await using var peer = new TlsPeer { Implicit = mode == TlsMode.Implicit };
        MailServer server = peer.Server with { Tls = mode, TlsCaFile = mode >= TlsMode.Required ? CaFile(peer) : "" };
        using (OutboundSession session = await OpenAsync(server))
        {
            Assert.Equal(version, session.TlsVersion);
            Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
            await session.QuitAsync(TestContext.Current.CancellationToken);
        }
        string prefix = version.Length > 0 ? "tls " : "";
        Assert.Contains(prefix + "MAIL FROM:<s@a.example>", peer.Lines);
        Assert.Contains(prefix + "EHLO relay.example", peer.Lines);
        var check = Assert.IsType<HealthEvent.CheckSucceeded>(await CheckAsync(server));
        Assert.Equal(version, check.Announced.Tls);
        if (version.Length > 0)
            Assert.Equal(new DateTimeOffset(peer.Authority.ForServer.NotAfter), check.Announced.CertificateExpiry);
    }

    [Theory]
    [InlineData("454 4.7.0 not now", false)]
    [InlineData("220 go", true)]
    public async Task Opportunistic_falls_back_to_the_clear_on_a_new_connection(string reply, bool noHandshake)
    {
        await using var peer = new TlsPeer { StartTlsReply = reply, NoHandshake = noHandshake };
        using OutboundSession session = await OpenAsync(peer.Server);
        Assert.Equal("", session.TlsVersion);
        Assert.Equal(["EHLO relay.example", "STARTTLS", "EHLO relay.example"], peer.Lines);
    }

    [Fact]
    public async Task Required_sends_nothing_in_the_clear()
    {
        await using var peer = new TlsPeer { StartTlsReply = "454 4.7.0 not now" };
        Assert.Equal("tls: 454 4.7.0 not now", await FailAsync(peer.Server with { Tls = TlsMode.Required }));
        await using var plain = new ScriptedPeer(ScriptedPeer.Hello + "S: 250 SIZE 9\n! eof");
        Assert.Equal("tls: no TLS: the mail server does not offer STARTTLS", await FailAsync(plain.Server with { Tls = TlsMode.Required }));
        await using var probed = new ScriptedPeer(ScriptedPeer.Hello + "S: 250 SIZE 9\nC: QUIT\nS: 221 bye\n! eof");
        Assert.Equal(new HealthEvent.DialogFailed("TLS: the mail server does not offer STARTTLS"), await CheckAsync(probed.Server with { Tls = TlsMode.Required }));
    }

    [Fact]
    public async Task What_stands_behind_the_220_in_the_clear_never_counts()
    {
        await using var peer = new TlsPeer { Behind220 = "250-evil.example\r\n250 CHUNKING" };
        MailServer server = peer.Server with { Tls = TlsMode.Required, TlsCaFile = CaFile(peer) };
        using OutboundSession session = await OpenAsync(server);
        Assert.False(session.Has(MailKit.Net.Smtp.SmtpCapabilities.Chunking));
        Assert.Equal("TLSv1.3", session.TlsVersion);
    }

    [Theory]
    [InlineData("unknown", "tls: no TLS: the certificate is not trusted (*")]
    [InlineData("name", "tls: no TLS: the certificate is for another host")]
    [InlineData("expired", "tls: no TLS: the certificate is not trusted (NotTimeValid)")]
    [InlineData("pin", "tls: no TLS: the certificate's fingerprint is *")]
    [InlineData("version", "tls: no TLS: *")]
    public async Task A_certificate_that_is_not_good_enough_is_refused(string fault, string expected)
    {
        await using var peer = new TlsPeer
        {
            Authority = fault switch
            {
                "name" => new TestAuthority("127.0.0.2"),
                "expired" => new TestAuthority(expiry: TimeProvider.System.GetUtcNow().AddDays(-1)),
                _ => new TestAuthority(),
            },
            Protocols = fault == "version" ? SslProtocols.Tls12 : SslProtocols.None,
        };
        MailServer server = peer.Server with
        {
            Tls = TlsMode.Required,
            TlsCaFile = fault is "unknown" or "pin" ? "" : CaFile(peer),
            TlsFingerprint = fault == "pin" ? [new string('A', 64)] : [],
            TlsMinVersion = TlsVersion.Tls13,
        };
        string actual = await FailAsync(server);
        Assert.StartsWith(expected.Split('*')[0], actual, StringComparison.Ordinal);
        Assert.StartsWith("TLS: ", Assert.IsType<HealthEvent.DialogFailed>(await CheckAsync(server)).Error, StringComparison.Ordinal);
        if (fault != "version")
        {
            // Any certificate does where TLS is only taken when it can be had.
            using OutboundSession session = await OpenAsync(server with { Tls = TlsMode.Opportunistic });
            Assert.Equal("TLSv1.3", session.TlsVersion);
        }
    }

    [Fact]
    public async Task A_pinned_certificate_needs_no_authority()
    {
        await using var peer = new TlsPeer { Authority = new TestAuthority("127.0.0.2") };
        using OutboundSession session = await OpenAsync(peer.Server with { Tls = TlsMode.Required, TlsFingerprint = ["00", peer.Authority.Fingerprint] });
        Assert.Equal("TLSv1.3", session.TlsVersion);
    }

    [Fact]
    public async Task Our_own_certificate_is_shown()
    {
        var ours = new TestAuthority("127.0.0.9");
        string file = Write("own.pem", ours.ForServer.ExportCertificatePem() + "\n" + ours.ForServer.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        await using var peer = new TlsPeer { WantsClientCertificate = true };
        using OutboundSession session = await OpenAsync(peer.Server with { TlsClientCertificate = file });
        await session.QuitAsync(TestContext.Current.CancellationToken);
        Assert.Equal("CN=peer.example", peer.ClientCertificate);
    }

    [Fact]
    public async Task A_session_ticket_is_no_end_of_the_session()
    {
        await using var peer = new TlsPeer();
        using OutboundSession session = await OpenAsync(peer.Server);
        for (int i = 0; i < 5; i++)
        {
            Assert.True(session.IsUsable());
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
    }

    [Fact]
    public async Task An_idle_session_under_TLS_that_the_peer_has_closed_is_not_usable()
    {
        var peer = new TlsPeer();
        using OutboundSession session = await OpenAsync(peer.Server);
        Assert.True(session.IsUsable());
        await peer.DisposeAsync();
        for (int i = 0; i < 100 && session.IsUsable(); i++)
            await Task.Delay(10, TestContext.Current.CancellationToken);
        Assert.False(session.IsUsable());
    }

    [Theory]
    [InlineData(AuthMethod.Plain)]
    [InlineData(AuthMethod.Login)]
    [InlineData(AuthMethod.CramMd5)]
    [InlineData(AuthMethod.Xoauth2)]
    public async Task Each_way_to_log_in_works_and_a_wrong_secret_does_not(AuthMethod method)
    {
        await using var peer = new TlsPeer();
        MailServer server = peer.Server with
        {
            Tls = TlsMode.Required,
            TlsCaFile = CaFile(peer),
            Auth = method,
            AuthUser = "user",
            AuthSecretFile = Write("secret", "secret\n"),
        };
        using (await OpenAsync(server))
            Assert.Contains(peer.Lines, line => line.StartsWith("tls AUTH ", StringComparison.Ordinal));
        Environment.SetEnvironmentVariable("CREDENTIALS_DIRECTORY", _directory.Path);
        using (await OpenAsync(server with { AuthSecretFile = "", AuthCredential = "secret" }))
            Assert.Equal(2, peer.Lines.Count(line => line.StartsWith("tls AUTH ", StringComparison.Ordinal)));
        Assert.Equal("auth: 535 5.7.8 no", await FailAsync(server with { AuthSecretFile = Write("wrong", "wrong") }));
    }

    [Fact]
    public async Task Without_secret_or_mechanism_nobody_logs_in_and_the_secret_is_in_no_text()
    {
        await using var peer = new TlsPeer { AuthMechanisms = "PLAIN" };
        MailServer server = peer.Server with { Auth = AuthMethod.ScramSha256, AuthUser = "user", AuthSecretFile = Write("secret", "hunter2") };
        Assert.Equal("auth: not logged in: the mail server does not offer SCRAM-SHA-256", await FailAsync(server));
        Assert.StartsWith("auth: not logged in: /", await FailAsync(server with { AuthSecretFile = "/nowhere/secret" }), StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", (server with { AuthUser = "" }).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Own_address_name_and_timeouts_of_a_mail_server_hold()
    {
        await using var peer = new TlsPeer();
        MailServer server = peer.Server with { Tls = TlsMode.None, SourceAddress = "127.0.0.7", EhloName = "other.example", CommandTimeout = TimeSpan.FromSeconds(7) };
        var settings = SessionSettings.Of(new Settings { HostName = "relay.example" }, server);
        Assert.Equal((TimeSpan.FromSeconds(7), TimeSpan.FromMinutes(5)), (settings.CommandTimeout, settings.GreetingTimeout));
        Opening opening = await new SessionOpener(settings).OpenAsync(server, TestContext.Current.CancellationToken);
        using OutboundSession session = opening.Session!;
        Assert.Equal(["EHLO other.example"], peer.Lines);
    }

    [Fact]
    public async Task Given_addresses_are_tried_in_their_order()
    {
        await using var peer = new TlsPeer();
        Opening opening = await new SessionOpener(Sending.Settings).OpenAsync(
            peer.Server with { Host = "mx" }, TestContext.Current.CancellationToken, [IPAddress.Parse("127.0.0.3"), IPAddress.Loopback]);
        using OutboundSession session = opening.Session!;
        Assert.StartsWith("127.0.0.1:", session.RemoteAddress, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tls = \"none\"\ntls_ca_file = \"/x\"", "mail_server.tls_ca_file")]
    [InlineData("tls_fingerprint = [\"aa\"]", "mail_server.tls_fingerprint")]
    [InlineData("tls = \"required\"\ntls_fingerprint = [\"aa\"]", "mail_server.tls_fingerprint")]
    [InlineData("tls = \"required\"\ntls_ca_file = \"/nowhere.pem\"", "mail_server.tls_ca_file")]
    [InlineData("tls = \"required\"\ntls_ca_file = \"/etc/hostname\"", "mail_server.tls_ca_file")]
    [InlineData("tls = \"implicit\"", "mail_server.tls")]
    [InlineData("tls_client_certificate = \"/nowhere.pem\"", "mail_server.tls_client_certificate")]
    [InlineData("tls_client_key = \"/nowhere.pem\"", "mail_server.tls_client_key")]
    [InlineData("auth = \"plain\"\nauth_secret_file = \"/etc/hostname\"", "mail_server.auth")]
    [InlineData("auth_user = \"u\"", "mail_server.auth_user")]
    [InlineData("auth = \"cram-md5\"\nauth_user = \"u\"\nauth_secret_file = \"/nowhere\"", "mail_server.auth_secret_file")]
    [InlineData("auth = \"plain\"\nauth_user = \"u\"\nauth_secret_file = \"/etc/hostname\"", "mail_server.auth")]
    [InlineData("auth = \"scram-sha-256\"\nauth_user = \"u\"\nauth_secret_file = \"/etc/hostname\"\nauth_credential = \"c\"", "mail_server.auth_credential")]
    [InlineData("source_address = \"relay\"", "mail_server.source_address")]
    [InlineData("ehlo_name = \"not a name\"", "mail_server.ehlo_name")]
    public void What_contradicts_itself_or_cannot_be_read_is_refused_with_its_line(string lines, string key)
    {
        string file = Write("mfrelay.toml", $"host_name = \"r.example\"\n[[mail_server]]\ndomain = \"*\"\nhost = \"192.0.2.1\"\n{lines}\n");
        ConfigError[] errors = [.. ConfigFile.Load(file).Errors];
        Assert.Contains(errors, error => error.Key == key);
        Assert.All(errors, error => Assert.Equal((file, true), (error.File, error.Line > 4)));
    }

    private static async Task<OutboundSession> OpenAsync(MailServer server)
    {
        Opening opening = await new SessionOpener(Sending.Settings).OpenAsync(server, TestContext.Current.CancellationToken);
        return opening.Session ?? throw new InvalidOperationException(opening.Outcome.ToString());
    }

    private static async Task<string> FailAsync(MailServer server)
    {
        Opening opening = await new SessionOpener(Sending.Settings).OpenAsync(server, TestContext.Current.CancellationToken);
        Assert.Null(opening.Session);
        Verdict verdict = ReplyClassifier.Classify(opening.Outcome);
        Assert.Equal((Disposition.Deferred, Scope.Host, false), (verdict.Disposition, verdict.Scope, verdict.CountsAsAttempt));
        return opening.Outcome.ToString();
    }

    private static Task<HealthEvent> CheckAsync(MailServer server) =>
        new Probe("relay.example", TimeSpan.FromSeconds(10), TimeProvider.System).RunAsync(server, null, TestContext.Current.CancellationToken);

    private string CaFile(TlsPeer peer) => Write("ca.pem", peer.Authority.Pem);

    private string Write(string name, string text)
    {
        string file = Path.Join(_directory.Path, name);
        File.WriteAllText(file, text);
        return file;
    }
}
