using System.Net;
using System.Net.Sockets;
using Mfrelay;
using Mfrelay.Core;
using Mfrelay.Server;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

return await DaemonProgram.RunAsync("mf-smtp-server", args, static async (settings, log) =>
{
    var admission = new Admission(settings);
    StateDirectory directory = StateDirectory.Open(settings.StateDirectory);
    using MailQueue queue = await MailQueue.OpenAsync(directory, () => admission, log, TimeProvider.System);
    var services = new SmtpServices(() => admission, queue, log, TimeProvider.System);

    WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
    builder.WebHost.UseKestrelCore();
    builder.Services.AddSingleton(services);
    builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = settings.Server.ShutdownTimeout + TimeSpan.FromSeconds(3));
    // 0.0.0.0 and [::] are two listeners: an IPv6 one does not take IPv4 as well.
    builder.Services.Configure<SocketTransportOptions>(options => options.CreateBoundListenSocket = BindAlone);
    builder.WebHost.ConfigureKestrel(kestrel =>
    {
        kestrel.Limits.MaxConcurrentConnections = null;
        foreach (IPEndPoint address in settings.Server.Listen)
            kestrel.Listen(address, listener => listener.UseConnectionHandler<SmtpConnectionHandler>());
    });
    DaemonProgram.AddSystemd(builder.Services);

    await using WebApplication app = builder.Build();
    app.Lifetime.ApplicationStarted.Register(() =>
    {
        foreach (IPEndPoint address in settings.Server.Listen)
            log.Listening(address.ToString());
        log.Started("mf-smtp-server");
    });
    // Begun as soon as the signal comes: sessions end while Kestrel closes its listeners.
    Task? draining = null;
    app.Lifetime.ApplicationStopping.Register(() => draining = services.StopAsync(settings.Server.ShutdownTimeout));
    await app.StartAsync();
    await app.WaitForShutdownAsync();
    if (draining is not null)
        await draining;
    return 0;
});

static Socket BindAlone(EndPoint endPoint)
{
    var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
    try
    {
        if (endPoint.AddressFamily == AddressFamily.InterNetworkV6)
            socket.DualMode = false;
        socket.Bind(endPoint);
        return socket;
    }
    catch (SocketException e)
    {
        socket.Dispose();
        throw new ListenException($"cannot listen on {endPoint}: {e.Message}. "
            + (e.SocketErrorCode == SocketError.AddressAlreadyInUse
                ? $"Another program has this port (ss -ltnp 'sport = :{((IPEndPoint)endPoint).Port}' shows which): stop it, or change server.listen"
                : "Change server.listen, or give the service the right to bind it"), e);
    }
}
