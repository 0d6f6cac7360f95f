using System.Net;
using System.Text;
using Mfrelay.Core;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace Mfrelay;

/// <summary>
/// "GET /metrics" on loopback, by a Kestrel of its own with nothing around it: its limits keep clients that are slow or many from holding
/// anything up. Compiled into both daemons; made only when metrics are asked for.
/// </summary>
internal sealed class MetricsEndpoint : IHttpApplication<IFeatureCollection>, IAsyncDisposable
{
    private readonly KestrelServer _kestrel;
    private readonly DaemonMetrics _metrics;
    private readonly MetricsText _text;

    private MetricsEndpoint(IPEndPoint listen, DaemonMetrics metrics, MetricsText text)
    {
        (_metrics, _text) = (metrics, text);
        var options = new KestrelServerOptions
        {
            AddServerHeader = false,
            Limits =
            {
                MaxConcurrentConnections = 16,
                MaxRequestBodySize = 0,
                MaxRequestLineSize = 2048,
                MaxRequestHeadersTotalSize = 16 * 1024,
                RequestHeadersTimeout = TimeSpan.FromSeconds(10),
            },
        };
        options.Listen(listen, listener => listener.Protocols = HttpProtocols.Http1);
        var transport = new SocketTransportFactory(Options.Create(new SocketTransportOptions()), NullLoggerFactory.Instance);
        _kestrel = new KestrelServer(Options.Create(options), transport, NullLoggerFactory.Instance);
    }

    /// <summary>Serves metrics; an address that cannot be had is a log line, since mail must not wait for monitoring. Null: they are off.</summary>
    /// <param name="listen">The setting; empty: off.</param>
    /// <param name="instruments">Adds the daemon's own, and says which routes there are.</param>
    public static async Task<MetricsEndpoint?> StartAsync(
        string listen, MailLog log, TimeProvider time, Func<DaemonMetrics, Func<IEnumerable<string>>> instruments)
    {
        if (listen.Length == 0)
            return null;
        var metrics = new DaemonMetrics(typeof(MetricsEndpoint).Assembly.GetName().Version?.ToString(3) ?? "", log, time);
        Func<IEnumerable<string>> routes = instruments(metrics);
        var endpoint = new MetricsEndpoint(IPEndPoint.Parse(listen), metrics, new MetricsText(metrics.Meter, routes));
        try
        {
            await endpoint._kestrel.StartAsync(endpoint, CancellationToken.None);
            log.MetricsServed(listen);
            return endpoint;
        }
        catch (IOException e)
        {
            log.MetricsNotServed(listen, e.Message);
            await endpoint.DisposeAsync();
            return null;
        }
    }

    public IFeatureCollection CreateContext(IFeatureCollection contextFeatures) => contextFeatures;

    public async Task ProcessRequestAsync(IFeatureCollection context)
    {
        var http = new DefaultHttpContext(context);
        if (http.Request.Path != "/metrics")
        {
            http.Response.StatusCode = StatusCodes.Status404NotFound;
            return;
        }
        if (!HttpMethods.IsGet(http.Request.Method) && !HttpMethods.IsHead(http.Request.Method))
        {
            http.Response.StatusCode = StatusCodes.Status405MethodNotAllowed;
            http.Response.Headers.Allow = "GET, HEAD";
            return;
        }
        byte[] body = Encoding.UTF8.GetBytes(_text.Read());
        http.Response.ContentType = MetricsText.ContentType;
        http.Response.ContentLength = body.Length;
        if (HttpMethods.IsGet(http.Request.Method))
            await http.Response.Body.WriteAsync(body, http.RequestAborted);
    }

    public void DisposeContext(IFeatureCollection context, Exception? exception)
    {
    }

    public async ValueTask DisposeAsync()
    {
        // Nobody waits for a scraper.
        await _kestrel.StopAsync(new CancellationToken(canceled: true));
        _kestrel.Dispose();
        _text.Dispose();
        _metrics.Dispose();
    }
}
