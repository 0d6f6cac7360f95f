using System.Net;
using System.Runtime.InteropServices;
using Mfrelay;
using Mfrelay.Core;
using Mfrelay.Server;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;

return await DaemonProgram.RunAsync("mf-smtp-server", args, static async daemon =>
{
    Settings settings = daemon.Settings;
    TimeProvider time = TimeProvider.System;
    StateDirectory directory = StateDirectory.Open(settings.StateDirectory);
    using SoleProcess sole = SoleProcess.Enter(directory, "mf-smtp-server");
    daemon.Log.Events = new EventLog("server", settings, daemon.Log, TimeProvider.System);
    Admission admission = new(settings, health: null);
    using MailQueue queue = await MailQueue.OpenAsync(directory, () => Volatile.Read(ref admission), daemon.Log, time);
    await using var health = new HealthMonitor(settings, queue.Store, daemon.Log, time, static (server, settings, cancel) =>
        new MailServerProbe(settings.HostName, settings.Server.CheckTimeout, TimeProvider.System).RunAsync(server, null, cancel));
    // S7: the first round of checks ends before anybody is let in, and so before READY.
    if (!await FirstRoundAsync(health, settings))
        return;
    Volatile.Write(ref admission, new Admission(settings, health));
    using var services = new SmtpServices(() => Volatile.Read(ref admission), queue, daemon.Log, time);
    await using MetricsEndpoint? metrics = await MetricsEndpoint.StartAsync(
        settings.Server.MetricsListen, daemon.Log, time, metrics => ServerMetrics.AddTo(metrics, services, health, directory));

    ListenSockets sockets = ListenSockets.FromEnvironment();
    await using WebApplication app = Build(settings, services, sockets);
    ISystemdNotifier? notifier = app.Services.GetService<ISystemdNotifier>();
    daemon.OnReload(
        changed =>
        {
            // In this order: mail for an entry that goes is refused as unknown to the config, not as down.
            Volatile.Write(ref admission, new Admission(changed, health));
            _ = health.ApplyAsync(changed);
            return Task.FromResult($"mail_server={changed.MailServers.Count}");
        },
        NeedRestart,
        notifier);
    app.Lifetime.ApplicationStarted.Register(() =>
    {
        foreach (ConfigError warning in daemon.Warnings)
            daemon.Log.ConfigWarning(warning);
        foreach (IPEndPoint address in settings.EndPoints)
            daemon.Log.Listening(address.ToString());
        foreach (string unused in sockets.Unused)
            daemon.Log.SocketUnused(unused);
        daemon.Log.Started("mf-smtp-server");
    });
    // Begun as soon as the signal comes: sessions end while Kestrel closes its listeners.
    Task? draining = null;
    app.Lifetime.ApplicationStopping.Register(() =>
    {
        notifier?.Notify(new ServiceState(ServiceNotice.ExtendStop(daemon.Settings.Server.ShutdownTimeout)));
        draining = services.StopAsync(daemon.Settings.Server.ShutdownTimeout);
    });
    await app.StartAsync();
    Task figures = new FigureKeeper("mf-smtp-server", settings.RunDirectory, time,
        () => [(Figure.Accepted, services.Figures.Accepted.Value), (Figure.Refused, services.Figures.RefusedInAll)],
        () => services.Open, static () => []).RunAsync(app.Lifetime.ApplicationStopping);
    Task notices = notifier is null ? Task.CompletedTask : NoticeOf(notifier, app, queue, health, daemon).RunAsync(app.Lifetime.ApplicationStopping);
    await app.WaitForShutdownAsync();
    await notices;
    await figures;
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

// Progress is: the spool's thread turns, and every listener takes connections. A table that waits for room on the disk is no reason to end.
static ServiceNotice NoticeOf(ISystemdNotifier notifier, WebApplication app, MailQueue queue, HealthMonitor health, Daemon daemon)
{
    ClientSockets listeners = app.Services.GetRequiredService<ClientSockets>();
    return new ServiceNotice(
        state => notifier.Notify(new ServiceState(state)),
        () => queue.Spool.IsAlive() & listeners.AreAllAccepting(),
        () => ServerStatus.Of(daemon.Settings, health.StateOf, daemon.Log.Lost),
        TimeProvider.System);
}

static WebApplication Build(Settings settings, SmtpServices services, ListenSockets sockets)
{
    WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
    builder.WebHost.UseKestrelCore();
    builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = settings.Server.ShutdownTimeout + TimeSpan.FromSeconds(3));
    builder.Services.AddSingleton(new ClientSockets(sockets));
    builder.Services.AddSingleton<IConnectionListenerFactory>(services => services.GetRequiredService<ClientSockets>());
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
