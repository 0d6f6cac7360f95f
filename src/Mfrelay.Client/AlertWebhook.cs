using System.Net.Http.Json;
using System.Threading.Channels;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>What a webhook gets.</summary>
/// <param name="Code">Of the line in the journal.</param>
/// <param name="State">"raised" or "cleared".</param>
/// <param name="Since">When the alert was raised.</param>
/// <param name="Time">When this was said.</param>
/// <param name="Host">host_name of the config.</param>
internal sealed record AlertNotice(string Code, string State, string Rule, string Subject, string Value, DateTimeOffset Since, DateTimeOffset Time, string Host);

/// <summary>
/// Posts alerts to the operator's webhook, in their order, each tried a few times. Whoever has something to say never waits: notices stand in a
/// queue, and what it has no room for, or what cannot be posted in the end, is a log line.
/// </summary>
internal sealed class AlertWebhook : IDisposable
{
    private const int Capacity = 1000;

    private static readonly TimeSpan[] WaitsBetweenTries = [TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(30)];

    private readonly Channel<(AlertSettings Rules, AlertNotice Notice)> _queue = Channel.CreateBounded<(AlertSettings, AlertNotice)>(Capacity);
    private readonly Queue<AlertNotice> _waiting = new(); // what is in the queue or being tried; under a lock of itself
    private readonly Lazy<HttpClient> _http;
    private readonly MailLog _log;
    private readonly TimeProvider _time;

    public AlertWebhook(MailLog log, TimeProvider time)
    {
        (_log, _time) = (log, time);
        // No redirects: a POST would become a GET and lose what it says. Connections are made anew now and then, since names move.
        _http = new(() => new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, PooledConnectionLifetime = TimeSpan.FromMinutes(1) })
        {
            Timeout = Timeout.InfiniteTimeSpan,
            MaxResponseContentBufferSize = 64 * 1024,
        });
    }

    /// <summary>What has been neither taken nor given up.</summary>
    public IReadOnlyList<AlertNotice> Waiting
    {
        get
        {
            lock (_waiting)
                return [.. _waiting];
        }
    }

    public void Send(AlertSettings rules, AlertNotice notice)
    {
        if (rules.Webhook.Length == 0)
            return;
        lock (_waiting)
        {
            if (_queue.Writer.TryWrite((rules, notice)))
            {
                _waiting.Enqueue(notice);
                return;
            }
        }
        _log.AlertWebhookFailed(Shown(rules.Webhook), "queue full");
    }

    public async Task RunAsync(CancellationToken cancel)
    {
        try
        {
            await foreach ((AlertSettings rules, AlertNotice notice) in _queue.Reader.ReadAllAsync(cancel))
            {
                await DeliverAsync(rules, notice, cancel);
                lock (_waiting)
                    _waiting.Dequeue();
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    public void Dispose()
    {
        if (_http.IsValueCreated)
            _http.Value.Dispose();
    }

    private async Task DeliverAsync(AlertSettings rules, AlertNotice notice, CancellationToken cancel)
    {
        for (int failures = 0; await TryAsync(rules, notice, cancel) is { } reason; failures++)
        {
            if (failures == WaitsBetweenTries.Length)
            {
                _log.AlertWebhookFailed(Shown(rules.Webhook), reason);
                return;
            }
            await Task.Delay(WaitsBetweenTries[failures], _time, cancel);
        }
    }

    /// <summary>Null when it was taken; otherwise why not.</summary>
    private async Task<string?> TryAsync(AlertSettings rules, AlertNotice notice, CancellationToken cancel)
    {
        using var limit = new CancellationTokenSource(rules.WebhookTimeout, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancel);
        try
        {
            using var content = JsonContent.Create(notice, AlertJson.Default.AlertNotice);
            await content.LoadIntoBufferAsync(either.Token); // with Content-Length: not every receiver knows chunks
            using var request = new HttpRequestMessage(HttpMethod.Post, rules.Webhook) { Content = content };
            using HttpResponseMessage response = await _http.Value.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, either.Token);
            return response.IsSuccessStatusCode ? null : $"HTTP {(int)response.StatusCode}";
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return "timeout";
        }
        catch (HttpRequestException e)
        {
            return e.InnerException is { } inner && !e.Message.Contains(inner.Message, StringComparison.Ordinal) ? $"{e.Message} {inner.Message}" : e.Message;
        }
    }

    /// <summary>Without user, path and query, which are a secret with many services.</summary>
    private static string Shown(string url) => new Uri(url).GetComponents(UriComponents.SchemeAndServer, UriFormat.UriEscaped);
}
