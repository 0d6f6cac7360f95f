using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>Against a real HTTP receiver on loopback.</summary>
public sealed class AlertWebhookTests : IAsyncDisposable
{
    private readonly State _state = new();
    private readonly VirtualTime _time = new(CommandRun.Now);
    private readonly CancellationTokenSource _stop = new();
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly List<string> _requests = [];
    private readonly AlertWebhook _webhook;
    private readonly Task _running;
    private readonly Task _receiving;

    /// <summary>Status lines in turn, the last one for ever; an empty one: no answer at all.</summary>
    private string[] _answers = ["204 No Content"];

    public AlertWebhookTests()
    {
        _listener.Start();
        _webhook = new AlertWebhook(_state.Log, _time);
        _running = _webhook.RunAsync(_stop.Token);
        _receiving = ReceiveAsync();
    }

    private AlertSettings Rules => new() { Webhook = $"http://user:pw@{_listener.LocalEndpoint}/secret?token=x", WebhookTimeout = TimeSpan.FromMinutes(1) };

    [Fact]
    public async Task A_notice_is_one_POST_of_a_JSON_object()
    {
        _webhook.Send(Rules, Notice("raised"));
        await UntilAsync(() => Requests.Length == 1);
        string[] parts = Requests[0].Split("\r\n\r\n");
        Assert.StartsWith("POST /secret?token=x HTTP/1.1\r\n", parts[0], StringComparison.Ordinal);
        Assert.Contains("\r\nContent-Type: application/json; charset=utf-8", parts[0], StringComparison.Ordinal);
        Assert.Contains($"\r\nContent-Length: {Encoding.UTF8.GetByteCount(parts[1])}", parts[0], StringComparison.Ordinal);
        using JsonDocument json = JsonDocument.Parse(parts[1]);
        Assert.Equal(
            "code=WARN_b231 state=raised rule=oldest_mail subject=queue value=60m since=2026-11-24T12:00:00+00:00 time=2026-11-24T12:01:00+00:00 host=relay.example",
            string.Join(' ', json.RootElement.EnumerateObject().Select(property => $"{property.Name}={property.Value}")));
        Assert.Empty(_state.LogLines("WARN_b234"));
    }

    [Fact]
    public async Task What_fails_is_tried_again_and_keeps_its_place()
    {
        _answers = ["500 No", "", "302 Found", "200 OK"];
        _webhook.Send(Rules, Notice("raised"));
        _webhook.Send(Rules, Notice("cleared"));
        await UntilAsync(() => Requests.Length == 5, TimeSpan.FromSeconds(1));
        Assert.Equal(["raised", "raised", "raised", "raised", "cleared"],
            Requests.Select(request => request.Contains("\"raised\"", StringComparison.Ordinal) ? "raised" : "cleared"));
        Assert.Empty(_state.LogLines("WARN_b234"));
    }

    [Theory]
    [InlineData("503 Busy", "(HTTP 503)")]
    [InlineData(null, "(timeout)")]
    public async Task What_fails_four_times_is_a_log_line_without_the_secret(string? answer, string reason)
    {
        _answers = [answer!];
        _webhook.Send(Rules, Notice("raised"));
        await UntilAsync(() => _state.LogLines("WARN_b234").Length == 1, TimeSpan.FromSeconds(1));
        Assert.Equal($"WARN_b234 The webhook for alerts failed. http://{_listener.LocalEndpoint} {reason}", _state.LogLines("WARN_b234")[0]);
        Assert.Equal(4, Requests.Length);
    }

    [Fact]
    public async Task A_receiver_that_is_not_there_or_speaks_no_TLS_holds_nobody_up()
    {
        AlertSettings rules = Rules with { Webhook = $"https://{_listener.LocalEndpoint}/" };
        for (int i = 0; i < 1002; i++)
            _webhook.Send(rules, Notice("raised")); // returns at once, whether there is room or not
        Assert.Contains(_state.LogLines("WARN_b234"), line => line.EndsWith("(queue full)", StringComparison.Ordinal));
        await UntilAsync(() => _state.LogLines("WARN_b234").Any(line => line.Contains("SSL", StringComparison.Ordinal)), TimeSpan.FromSeconds(1));
    }

    /// <summary>That one is trusted is told by an integration test: it takes a process with another idea of whom to trust.</summary>
    [Fact]
    public async Task A_receiver_whose_certificate_nobody_trusts_hears_nothing()
    {
        using var certificate = new TestCertificate("localhost");
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        _webhook.Send(Rules with { Webhook = $"https://localhost:{((IPEndPoint)listener.LocalEndpoint).Port}/" }, Notice("raised"));
        Task<int>[] tries = [.. Enumerable.Range(0, 4).Select(_ => HearAsync(listener, certificate))];
        await UntilAsync(() => _state.LogLines("WARN_b234").Length == 1, TimeSpan.FromMilliseconds(100));
        Assert.Contains("UntrustedRoot", _state.LogLines("WARN_b234")[0], StringComparison.Ordinal);
        Assert.All(await Task.WhenAll(tries), octets => Assert.Equal(0, octets));
    }

    /// <summary>How many octets a client sends in TLS.</summary>
    private static async Task<int> HearAsync(TcpListener listener, TestCertificate certificate)
    {
        using TcpClient peer = await listener.AcceptTcpClientAsync(TestContext.Current.CancellationToken);
        await using var tls = new SslStream(peer.GetStream());
        using X509Certificate2 own = X509Certificate2.CreateFromPemFile(certificate.CertificateFile, certificate.KeyFile);
        try
        {
            await tls.AuthenticateAsServerAsync(own);
            return await tls.ReadAsync(new byte[4096], TestContext.Current.CancellationToken);
        }
        catch (Exception e) when (e is AuthenticationException or IOException)
        {
            return 0;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        _listener.Stop();
        await _receiving;
        _webhook.Dispose();
        _stop.Dispose();
        _state.Dispose();
    }

    private static AlertNotice Notice(string state) =>
        new("WARN_b231", state, "oldest_mail", "queue", "60m", CommandRun.Now, CommandRun.Now.AddMinutes(1), "relay.example");

    private string[] Requests
    {
        get
        {
            lock (_requests)
                return [.. _requests];
        }
    }

    private async Task UntilAsync(Func<bool> isSo, TimeSpan step = default)
    {
        for (int i = 0; !isSo(); i++)
        {
            Assert.True(i < 1000, string.Join('\n', Requests));
            await Task.Delay(10, TestContext.Current.CancellationToken);
            _time.Advance(step);
        }
    }

    private async Task ReceiveAsync()
    {
        List<TcpClient> unanswered = [];
        try
        {
            for (int i = 0; ; i++)
            {
                TcpClient client = await _listener.AcceptTcpClientAsync();
                unanswered.Add(client);
                byte[] buffer = new byte[8192];
                int length = 0;
                while (!Encoding.UTF8.GetString(buffer, 0, length).EndsWith('}'))
                {
                    int more = await client.GetStream().ReadAsync(buffer.AsMemory(length));
                    if (more == 0 || buffer[0] == 0x16)
                        break;
                    length += more;
                }
                if (buffer[0] == 0x16)
                {
                    await client.GetStream().WriteAsync("this is no TLS"u8.ToArray());
                    client.Dispose();
                    continue;
                }
                lock (_requests)
                    _requests.Add(Encoding.UTF8.GetString(buffer, 0, length));
                if (_answers[Math.Min(i, _answers.Length - 1)] is not { } answer)
                    continue;
                if (answer.Length > 0)
                    await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 {answer}\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
                client.Dispose();
            }
        }
        catch (Exception e) when (e is SocketException or InvalidOperationException or IOException)
        {
            // The end of the test.
        }
        finally
        {
            unanswered.ForEach(client => client.Dispose());
        }
    }
}
