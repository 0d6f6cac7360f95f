using System.Net;
using System.Text;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>STARTTLS, TLS from the first octet, certificates by name, their renewal, and what a client certificate gives.</summary>
public sealed class TlsTests : IDisposable
{
    private static readonly IPEndPoint Smtps = new(IPAddress.Loopback, 465);

    private readonly TestCertificate _certificate = new("relay.example");

    public void Dispose() => _certificate.Dispose();

    [Fact]
    public async Task After_starttls_nothing_that_was_said_before_counts_and_mail_comes_in()
    {
        await using Receiving receiving = await StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.ReplyAsync();
        Assert.Contains("250-STARTTLS\n", await session.AskAsync("EHLO before.example"), StringComparison.Ordinal);
        Assert.StartsWith("250", await session.AskAsync("MAIL FROM:<before@example.org>"), StringComparison.Ordinal);
        Assert.Equal("501 5.5.4 Syntax: no argument allowed", await session.AskAsync("STARTTLS now"));
        Assert.Equal("220 2.0.0 Ready to start TLS", await session.AskAsync("STARTTLS"));
        using TlsClient client = await TlsClient.StartAsync(session);
        Assert.Equal("503 5.5.1 EHLO or HELO first", await client.AskAsync("MAIL FROM:<a@example.org>"));
        Assert.Equal("503 5.5.1 MAIL first", await client.AskAsync("RCPT TO:<b@example.com>"));
        Assert.DoesNotContain("STARTTLS", await client.AskAsync("EHLO after.example"), StringComparison.Ordinal);
        Assert.Equal("503 5.5.1 TLS is on already", await client.AskAsync("STARTTLS"));
        Assert.StartsWith("250", await client.AskAsync("MAIL FROM:<a@example.org>"), StringComparison.Ordinal);
        Assert.StartsWith("250", await client.AskAsync("RCPT TO:<b@example.com>"), StringComparison.Ordinal);
        Assert.StartsWith("354", await client.AskAsync("DATA"), StringComparison.Ordinal);
        string large = string.Concat(Enumerable.Repeat(new string('x', 78) + "\r\n", 10_000));
        Assert.StartsWith("250", await client.AskAsync(large + "."), StringComparison.Ordinal);
        Assert.StartsWith("221", await client.AskAsync("QUIT"), StringComparison.Ordinal);
        await session.EndedAsync();
        (Envelope envelope, byte[] data) = Assert.Single(receiving.Stored());
        Assert.Equal(("ESMTPS", "after.example", "a@example.org"), (envelope.Protocol, envelope.HeloName, envelope.ReversePath));
        Assert.Equal(large, Encoding.Latin1.GetString(data[Receiving.AfterTrace(data)..]));
    }

    [Fact]
    public async Task What_stands_behind_starttls_in_plaintext_is_thrown_away() // CVE-2011-0411
    {
        await using Receiving receiving = await StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.ReplyAsync();
        await session.AskAsync("EHLO client.example");
        await session.SendAsync("STARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<evil@example.org>\r\nRSET");
        Assert.Equal("220 2.0.0 Ready to start TLS", await session.ReplyAsync());
        using TlsClient client = await TlsClient.StartAsync(session);
        Assert.Equal("250 2.0.0 Ok", await client.AskAsync("NOOP"));
        Assert.Equal("503 5.5.1 EHLO or HELO first", await client.AskAsync("MAIL FROM:<a@example.org>"));
        Assert.Contains(receiving.Log, entry => entry.What == LogEvents.PlaintextDropped);
    }

    [Fact]
    public async Task A_listener_of_implicit_tls_greets_inside_it_and_wants_auth()
    {
        await using Receiving receiving = await StartAsync();
        ReceivingSession session = receiving.Connect(listener: Smtps);
        using TlsClient client = await TlsClient.StartAsync(session);
        Assert.StartsWith("220 ", await client.ReplyAsync(), StringComparison.Ordinal);
        await client.AskAsync("EHLO client.example");
        Assert.Equal("530 5.7.0 Authentication required", await client.AskAsync("MAIL FROM:<a@example.org>"));
    }

    [Fact]
    public async Task A_handshake_that_does_not_end_is_cut_off_and_one_that_is_none_is_logged()
    {
        var time = new VirtualTime();
        await using Receiving receiving = await StartAsync(time: time);
        ReceivingSession silent = receiving.Connect(listener: Smtps);
        time.Advance(TimeSpan.FromSeconds(31));
        await silent.EndedAsync();
        ReceivingSession plain = receiving.Connect(listener: Smtps);
        await plain.SendAsync("EHLO client.example\r\n");
        await plain.EndedAsync();
        Assert.Equal(2, receiving.Log.Count(entry => entry.What == LogEvents.TlsFailed));
        Assert.Single(receiving.Log, entry => entry.Line.EndsWith("(timeout)", StringComparison.Ordinal));
        Assert.Single(receiving.Log, entry => entry.Line is "WARN_a311 A limit was reached. limit=server.handshake_timeout client=127.0.0.1");
    }

    [Fact]
    public async Task The_name_that_the_client_asks_for_chooses_the_certificate()
    {
        using var other = new TestCertificate("mail.example.net", "*.example.net");
        await using Receiving receiving = await StartAsync(more: other);
        foreach ((string name, TestCertificate expected) in new[] { ("relay.example", _certificate), ("x.example.net", other), ("MAIL.example.net", other), ("unknown.example", _certificate) })
        {
            using TlsClient client = await TlsClient.StartAsync(receiving.Connect(listener: Smtps), name);
            Assert.Equal(expected.Certificate.Thumbprint, client.ServerCertificate.Thumbprint);
        }
    }

    [Fact]
    public async Task A_timeout_inside_tls_is_told_inside_tls()
    {
        var time = new VirtualTime();
        await using Receiving receiving = await StartAsync(time: time);
        ReceivingSession session = receiving.Connect(listener: Smtps);
        using TlsClient client = await TlsClient.StartAsync(session);
        await client.ReplyAsync();
        await client.AskAsync("EHLO client.example");
        time.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal("421 4.4.2 Timeout, closing the connection", await client.ReplyAsync());
        Assert.Equal("", await client.ReplyAsync());
        await session.EndedAsync();
    }

    [Fact]
    public async Task A_client_that_does_not_read_inside_tls_is_cut_off_at_the_timeout()
    {
        var time = new VirtualTime();
        await using Receiving receiving = await StartAsync(time: time);
        ReceivingSession session = receiving.Connect();
        await session.ReplyAsync();
        await session.AskAsync("STARTTLS");
        using TlsClient client = await TlsClient.StartAsync(session);
        await client.AskAsync("HELO client.example");
        await client.AskAsync("MAIL FROM:<a@example.org>");
        string commands = string.Concat(Enumerable.Repeat("RCPT TO:<b@example.com>\r\n", 2000));
        Task sending = Task.CompletedTask;
        for (int i = 0; i < 100 && sending.IsCompletedSuccessfully; i++)
        {
            sending = client.SendAsync(commands);
            await Task.WhenAny(sending, Task.Delay(200, TestContext.Current.CancellationToken));
        }
        Assert.False(sending.IsCompleted, "everything was read");
        time.Advance(TimeSpan.FromMinutes(6));
        await session.EndedAsync();
        Assert.Contains(receiving.Log, entry => entry.What == LogEvents.SessionLost && entry.Line.Contains("timeout", StringComparison.Ordinal));
        await sending;
    }

    [Fact]
    public async Task A_message_under_way_inside_tls_is_accepted_when_the_service_stops()
    {
        await using Receiving receiving = await StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.ReplyAsync();
        await session.AskAsync("STARTTLS");
        using TlsClient client = await TlsClient.StartAsync(session);
        foreach (string line in (string[])["HELO client.example", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.com>", "DATA"])
            await client.AskAsync(line);
        await client.SendAsync("one\r\n");
        session.Connection.Stop();
        Assert.StartsWith("250", await client.AskAsync("two\r\n."), StringComparison.Ordinal);
        Assert.Equal("421 4.3.2 Service shutting down", await client.ReplyAsync());
        Assert.Equal("", await client.ReplyAsync());
        await session.EndedAsync();
        Assert.EndsWith("\r\none\r\ntwo\r\n", Encoding.Latin1.GetString(Assert.Single(receiving.Stored()).Data), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("two words")]
    [InlineData("@:/;")]
    [InlineData("*.relay.example")]
    public async Task A_name_that_no_host_can_have_gets_the_first_certificate(string name)
    {
        await using Receiving receiving = await StartAsync();
        using TlsClient client = await TlsClient.StartAsync(receiving.Connect(listener: Smtps), name);
        Assert.Equal(_certificate.Certificate.Thumbprint, client.ServerCertificate.Thumbprint);
        Assert.StartsWith("220 ", await client.ReplyAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_that_ends_behind_starttls_is_one_that_broke_off()
    {
        await using Receiving receiving = await StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.ReplyAsync();
        await session.AskAsync("EHLO client.example");
        session.SendLast("STARTTLS\r\n");
        await session.EndedAsync();
        Assert.Contains("EOF", Assert.Single(receiving.Log, entry => entry.What == LogEvents.TlsFailed).Line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not()
    {
        var time = new VirtualTime();
        await using Receiving receiving = await StartAsync(time: time);
        string first = await ServedAsync();
        _certificate.Renew("relay.example", "second.example");
        time.Advance(TimeSpan.FromSeconds(2));
        string second = await ServedAsync();
        Assert.NotEqual(first, second);
        Assert.Equal(_certificate.Certificate.Thumbprint, second);
        File.WriteAllText(_certificate.KeyFile, "no key");
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(second, await ServedAsync());
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(second, await ServedAsync());
        Assert.Single(receiving.Log, entry => entry.What == LogEvents.CertificateBad);

        async Task<string> ServedAsync()
        {
            using TlsClient client = await TlsClient.StartAsync(receiving.Connect(listener: Smtps));
            return client.ServerCertificate.Thumbprint;
        }
    }

    [Theory]
    [InlineData(true, "250 2.1.0 Ok")]
    [InlineData(false, "550 5.7.1 Your address may not send through this relay")]
    public async Task A_client_certificate_of_the_list_may_send_from_anywhere(bool listed, string expected)
    {
        using var own = new TestCertificate("client.example");
        await using Receiving receiving = await StartAsync(fingerprint: listed ? own.Fingerprint : new string('0', 64));
        ReceivingSession session = receiving.Connect("192.0.2.1");
        await session.ReplyAsync();
        await session.AskAsync("STARTTLS");
        using var certificate = System.Security.Cryptography.X509Certificates.X509Certificate2.CreateFromPemFile(own.CertificateFile, own.KeyFile);
        using TlsClient client = await TlsClient.StartAsync(session, own: certificate);
        await client.AskAsync("EHLO client.example");
        Assert.Equal(expected, await client.AskAsync("MAIL FROM:<a@example.org>"));
    }

    private async Task<Receiving> StartAsync(TestCertificate? more = null, TimeProvider? time = null, string? fingerprint = null)
    {
        TestCertificate[] certificates = more is null ? [_certificate] : [_certificate, more];
        Settings settings = Receiving.DefaultSettings;
        return await Receiving.StartAsync(settings with
        {
            Server = settings.Server with { ClientCertificates = fingerprint is null ? [] : [fingerprint] },
            Certificates = [.. certificates.Select(certificate => new CertificateSettings { File = certificate.CertificateFile, Key = certificate.KeyFile })],
            Listeners = [new ListenerSettings { Address = Smtps, Profile = ListenerProfile.Smtps }],
        }, time);
    }
}
