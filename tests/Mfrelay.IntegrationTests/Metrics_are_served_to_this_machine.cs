using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed partial class Metrics_are_served_to_this_machine : IAsyncLifetime
{
    private readonly IPEndPoint _ofServer = Loopback.FreeEndPoint();
    private readonly IPEndPoint _ofClient = Loopback.FreeEndPoint();
    private readonly Sink _sink = new();
    private readonly Sink _deadSink = new(started: false);
    private readonly Relay _relay;

    public Metrics_are_served_to_this_machine()
    {
        _relay = new Relay(_sink.EndPoint);
        _relay.WriteConfig(_relay.ConfigOf($"metrics_listen = \"{_ofClient}\"", ("example.com", _sink.EndPoint), ("dead.example", _deadSink.EndPoint), ("idle.example", _sink.EndPoint))
            .Replace("[server]", $"[server]\nmetrics_listen = \"{_ofServer}\"", StringComparison.Ordinal));
    }

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
        _deadSink.Dispose();
    }

    [Fact]
    public async Task Series_are_there_at_zero_before_there_was_any_mail_and_count_it_then()
    {
        Daemon server = await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        Scrape ofServer = await Scrape.ReadAsync(_ofServer);
        Scrape ofClient = await Scrape.UntilAsync(_ofClient, scrape => scrape.Has("mfrelay_queue_deliveries{route=\"example.com\"}"));
        foreach (string route in new[] { "example.com", "dead.example", "idle.example" })
        {
            Assert.Equal(0, ofServer[$"mfrelay_accepted_recipients_total{{route=\"{route}\"}}"]);
            foreach (string name in new[] { "deliveries", "held", "active", "size_bytes", "oldest_age_seconds", "next_due_seconds" })
                Assert.Equal(0, ofClient[$"mfrelay_queue_{name}{{route=\"{route}\"}}"]);
            foreach (string result in new[] { "delivered", "deferred", "failed" })
            {
                Assert.Equal(0, ofClient[$"mfrelay_attempts_total{{route=\"{route}\",result=\"{result}\"}}"]);
                Assert.Equal(0, ofClient[$"mfrelay_recipients_total{{route=\"{route}\",result=\"{result}\"}}"]);
            }
            Assert.Equal(0, ofClient[$"mfrelay_delivery_delay_seconds_bucket{{route=\"{route}\",le=\"+Inf\"}}"]);
            Assert.Equal(0, ofClient[$"mfrelay_attempt_seconds_count{{route=\"{route}\"}}"]);
        }
        Assert.Equal(0, ofServer["mfrelay_accepted_messages_total"]);
        Assert.Equal(0, ofServer["mfrelay_spool_sync_seconds_count"]);
        Assert.Equal(1, ofServer[$"mfrelay_mail_server_up{{route=\"example.com\",mail_server=\"{_sink.EndPoint}\",view=\"server\"}}"]);
        Assert.Equal(0, ofServer[$"mfrelay_mail_server_up{{route=\"dead.example\",mail_server=\"{_deadSink.EndPoint}\",view=\"server\"}}"]);
        Assert.Equal(1, ofClient[$"mfrelay_mail_server_up{{route=\"dead.example\",mail_server=\"{_deadSink.EndPoint}\",view=\"client\"}}"]);

        await _relay.SendAsync("one", "to@example.com", "too@example.com", "to@dead.example");
        await client.WaitForLineAsync("INFO_b211");
        await client.WaitForLineAsync("INFO_b102");
        ofServer = await Scrape.UntilAsync(_ofServer, scrape => scrape["mfrelay_spool_bytes"] > 0); // looked at every 2 s
        // Later than the first count, which may find it still in hand.
        ofClient = await Scrape.UntilAsync(_ofClient, scrape => scrape["mfrelay_queue_next_due_seconds{route=\"dead.example\"}"] > 0);
        Assert.Equal(1, ofServer["mfrelay_accepted_messages_total"]);
        Assert.Equal(2, ofServer["mfrelay_accepted_recipients_total{route=\"example.com\"}"]);
        Assert.Equal(1, ofServer["mfrelay_accept_seconds_count"]);
        Assert.InRange(ofServer["mfrelay_spool_sync_seconds_count"], 1, 5);
        Assert.InRange(ofServer["mfrelay_spool_bytes"], 100, 10_000_000);
        Assert.InRange(ofServer["mfrelay_accepted_bytes_total"], 100, 1000);
        Assert.Equal(1, ofClient["mfrelay_queue_deliveries{route=\"dead.example\"}"]);
        Assert.InRange(ofClient["mfrelay_queue_oldest_age_seconds{route=\"dead.example\"}"], 0.01, 60);
        Assert.InRange(ofClient["mfrelay_queue_next_due_seconds{route=\"dead.example\"}"], 1, 90);
        Assert.Equal(2, ofClient["mfrelay_recipients_total{route=\"example.com\",result=\"delivered\"}"]);
        Assert.Equal(1, ofClient["mfrelay_attempts_total{route=\"dead.example\",result=\"deferred\"}"]);
        Assert.Equal(1, ofClient["mfrelay_delivery_delay_seconds_count{route=\"example.com\"}"]);
        Assert.Equal(0, ofClient["mfrelay_delivery_delay_seconds_count{route=\"idle.example\"}"]);
        Assert.Equal(0, ofClient[$"mfrelay_mail_server_up{{route=\"dead.example\",mail_server=\"{_deadSink.EndPoint}\",view=\"client\"}}"]);
        Assert.Equal(0, await server.StopAsync());
        Assert.Equal(0, await client.StopAsync());
    }

    [Theory]
    [InlineData("prometheus-alerts.yml")]
    [InlineData("grafana-dashboard.json")]
    public async Task Each_metric_that_alert_rules_and_dashboard_name_is_there(string file)
    {
        await _relay.StartServerAsync();
        await _relay.StartClientAsync();
        Scrape ofClient = await Scrape.UntilAsync(_ofClient, scrape => scrape.Has("mfrelay_queue_deliveries{route=\"example.com\"}"));
        HashSet<string> there = [.. (await Scrape.ReadAsync(_ofServer)).Names, .. ofClient.Names];
        string[] named = [.. Metric().Matches(File.ReadAllText(Path.Join(Files.Repository, "packaging", file))).Select(match => match.Value)
            .Select(name => Suffix().Replace(name, "")).Distinct(StringComparer.Ordinal)];
        Assert.InRange(named.Length, 8, 100);
        Assert.All(named, name => Assert.Contains(name, there));
    }

    [Fact]
    public async Task Clients_that_mean_no_good_hold_nothing_up()
    {
        await _relay.StartServerAsync();
        List<Socket> silent = [];
        for (int i = 0; i < 10; i++)
            silent.Add(await ConnectAsync(""));
        foreach (string nonsense in new[] { "\0\u0001\u0002\r\n\r\n", "GET\r\n\r\n", "GET /metrics HTTP/9.9\r\n\r\n", $"GET /{new string('a', 5000)} HTTP/1.1\r\nHost: x\r\n\r\n" })
        {
            using Socket socket = await ConnectAsync(nonsense);
            Assert.Matches("^HTTP/1.1 (400|414|505)", await AnswerAsync(socket));
        }
        foreach ((string request, string status) in new[]
        {
            ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
            ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        })
        {
            using Socket socket = await ConnectAsync(request);
            Assert.StartsWith($"HTTP/1.1 {status}", await AnswerAsync(socket), StringComparison.Ordinal);
        }
        Assert.Equal(0, (await Scrape.ReadAsync(_ofServer))["mfrelay_accepted_messages_total"]);
        await _relay.SendAsync("mail goes on");
        silent.ForEach(socket => socket.Dispose());
    }

    [Fact]
    public async Task An_address_that_is_taken_keeps_no_mail_from_coming()
    {
        using var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.Bind(_ofServer);
        other.Listen();
        Daemon server = await _relay.StartServerAsync();
        await server.WaitForLineAsync("WARN_c392");
        await _relay.SendAsync("one");
    }

    private async Task<Socket> ConnectAsync(string request)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(_ofServer);
        await socket.SendAsync(Encoding.Latin1.GetBytes(request));
        return socket;
    }

    private static async Task<string> AnswerAsync(Socket socket)
    {
        byte[] answer = new byte[4096];
        return Encoding.ASCII.GetString(answer, 0, await socket.ReceiveAsync(answer).WaitAsync(TimeSpan.FromSeconds(15)));
    }

    [GeneratedRegex("mfrelay_[a-z0-9_]+", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex Metric();

    [GeneratedRegex("_(bucket|sum|count)$", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex Suffix();
}
