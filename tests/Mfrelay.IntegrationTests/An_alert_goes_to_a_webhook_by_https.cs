using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Mfrelay.Tests;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class An_alert_goes_to_a_webhook_by_https : IAsyncLifetime
{
    private readonly Sink _deadSink = new(started: false);
    private readonly TcpListener _webhook = new(IPAddress.Loopback, 0);
    private readonly TestCertificate _certificate = new("localhost");
    private readonly Relay _relay;

    public An_alert_goes_to_a_webhook_by_https()
    {
        _webhook.Start();
        _relay = new Relay(_deadSink.EndPoint);
        _relay.WriteConfig(_relay.ConfigOf("", ("dead.example", _deadSink.EndPoint))
            + $"\n[alert]\nqueue_size = 1\ninterval = \"1s\"\nwebhook = \"https://localhost:{((IPEndPoint)_webhook.LocalEndpoint).Port}/alert\"\n");
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _deadSink.Dispose();
        _webhook.Stop();
        _certificate.Dispose();
    }

    [Fact]
    public async Task Of_an_authority_that_the_system_trusts()
    {
        await _relay.StartServerAsync();
        // What update-ca-certificates(8) does for the system, for this process.
        var trust = new Dictionary<string, string>(StringComparer.Ordinal) { ["SSL_CERT_FILE"] = _certificate.CertificateFile };
        using var client = new Daemon("mf-smtp-client", trust, "--config", _relay.ConfigFile);
        await _relay.SendAsync("waits", "to@dead.example");
        await client.WaitForLineAsync("WARN_b231 Alert. queue_size queue 1");
        string request = await TakeAsync();
        Assert.StartsWith("POST /alert HTTP/1.1\r\n", request, StringComparison.Ordinal);
        Assert.Contains("\"rule\":\"queue_size\"", request, StringComparison.Ordinal);
        Assert.Equal(0, await client.StopAsync());
        Assert.DoesNotContain(client.Lines, line => line.Contains("WARN_b234", StringComparison.Ordinal));
    }

    /// <summary>One request, answered with 204.</summary>
    private async Task<string> TakeAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        using TcpClient peer = await _webhook.AcceptTcpClientAsync(limit.Token);
        await using var tls = new SslStream(peer.GetStream());
        using X509Certificate2 certificate = X509Certificate2.CreateFromPemFile(_certificate.CertificateFile, _certificate.KeyFile);
        await tls.AuthenticateAsServerAsync(
            new SslServerAuthenticationOptions { ServerCertificate = certificate, EnabledSslProtocols = SslProtocols.Tls12 }, limit.Token);
        byte[] buffer = new byte[4096];
        int length = 0;
        while (!Encoding.UTF8.GetString(buffer, 0, length).EndsWith('}'))
        {
            int more = await tls.ReadAsync(buffer.AsMemory(length), limit.Token);
            Assert.NotEqual(0, more);
            length += more;
        }
        await tls.WriteAsync("HTTP/1.1 204 Taken\r\nConnection: close\r\n\r\n"u8.ToArray(), limit.Token);
        return Encoding.UTF8.GetString(buffer, 0, length);
    }
}
