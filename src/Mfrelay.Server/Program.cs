using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Mfrelay;
using Mfrelay.Core;
using Mfrelay.Server;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;

return await DaemonProgram.RunAsync("mf-smtp-server", args, static async daemon =>
{
    Settings settings = daemon.Settings;
    TimeProvider time = TimeProvider.System;
    StateDirectory directory = StateDirectory.Open(settings.StateDirectory);
    using SoleProcess sole = SoleProcess.Enter(directory, "mf-smtp-server");
    Admission admission = new(settings, health: null);
    using MailQueue queue = await MailQueue.OpenAsync(directory, () => Volatile.Read(ref admission), daemon.Log, time);
    await using var health = new HealthMonitor(settings, queue.Store, daemon.Log, time, static (server, settings, cancel) =>
        new MailServerProbe(settings.HostName, settings.Server.CheckTimeout, TimeProvider.System).RunAsync(server, null, cancel));
    // S7: the first round of checks ends before anybody is let in, and so before READY.
    if (!await FirstRoundAsync(health, settings))
        return;
    Volatile.Write(ref admission, new Admission(settings, health));
    using var services = new SmtpServices(() => Volatile.Read(ref admission), queue, daemon.Log, time);

    await using WebApplication app = Build(settings, services);
    daemon.OnReload(
        changed =>
        {
            _ = health.ApplyAsync(changed);
            Volatile.Write(ref admission, new Admission(changed, health));
            return Task.FromResult($"mail_server={changed.MailServers.Count}");
        },
        NeedRestart,
        app.Services.GetService<ISystemdNotifier>());
    app.Lifetime.ApplicationStarted.Register(() =>
    {
        foreach (ConfigError warning in daemon.Warnings)
            daemon.Log.ConfigWarning(warning);
        foreach (IPEndPoint address in settings.EndPoints)
            daemon.Log.Listening(address.ToString());
        daemon.Log.Started("mf-smtp-server");
    });
    // Begun as soon as the signal comes: sessions end while Kestrel closes its listeners.
    Task? draining = null;
    app.Lifetime.ApplicationStopping.Register(() => draining = services.StopAsync(daemon.Settings.Server.ShutdownTimeout));
    await app.StartAsync();
    await app.WaitForShutdownAsync();
    if (draining is not null)
        await draining;
});

// False: SIGTERM or SIGINT came while mail servers were still being asked, before there is a host that listens for them.
static async Task<bool> FirstRoundAsync(HealthMonitor health, Settings settings)
{
    var stop = new TaskCompletionSource();
    void Stop(PosixSignalContext signal)
    {
        signal.Cancel = true;
        stop.TrySetResult();
    }

    using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
    Task round = health.ApplyAsync(settings);
    return await Task.WhenAny(round, stop.Task) == round;
}

static WebApplication Build(Settings settings, SmtpServices services)
{
    WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
    builder.WebHost.UseKestrelCore();
    builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = settings.Server.ShutdownTimeout + TimeSpan.FromSeconds(3));
    // 0.0.0.0 and [::] are two listeners: an IPv6 one does not take IPv4 as well.
    builder.Services.Configure<SocketTransportOptions>(options => options.CreateBoundListenSocket = BindAlone);
    builder.WebHost.ConfigureKestrel(kestrel =>
    {
        kestrel.Limits.MaxConcurrentConnections = null;
        foreach (IPEndPoint address in settings.EndPoints)
            kestrel.Listen(address, listener => listener.Run(new SmtpConnectionHandler(services, address).OnConnectedAsync));
    });
    DaemonProgram.AddSystemd(builder.Services);
    return builder.Build();
}

static IEnumerable<string> NeedRestart(Settings before, Settings after)
{
    if (!before.EndPoints.SequenceEqual(after.EndPoints))
        yield return "server.listen, listener.address";
    foreach (string key in DaemonProgram.NeedRestart(before, after))
        yield return key;
}

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
