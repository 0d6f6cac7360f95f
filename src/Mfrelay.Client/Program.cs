using Mfrelay;
using Mfrelay.Client;
using Mfrelay.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;

return await DaemonProgram.RunAsync("mf-smtp-client", args, static async daemon =>
{
    Settings settings = daemon.Settings;
    StateDirectory directory = StateDirectory.Open(settings.StateDirectory);
    using SoleProcess sole = SoleProcess.Enter(directory, "mf-smtp-client");
    daemon.Log.Events = new EventLog("client", settings, daemon.Log, TimeProvider.System);
    await using var runner = new QueueRunner(settings, directory, daemon.Log, TimeProvider.System);

    HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
    builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = settings.Client.ShutdownTimeout + TimeSpan.FromSeconds(3));
    DaemonProgram.AddSystemd(builder.Services);
    using IHost host = builder.Build();
    IHostApplicationLifetime lifetime = host.Services.GetRequiredService<IHostApplicationLifetime>();

    ISystemdNotifier? notifier = host.Services.GetService<ISystemdNotifier>();
    lifetime.ApplicationStopping.Register(() => notifier?.Notify(new ServiceState(ServiceNotice.ExtendStop(daemon.Settings.Client.ShutdownTimeout))));

    await runner.OpenAsync();
    using var webhook = new AlertWebhook(daemon.Log, TimeProvider.System);
    var watch = new AlertWatch(runner, directory, webhook);
    await using MetricsEndpoint? metrics = await MetricsEndpoint.StartAsync(
        settings.Client.MetricsListen, daemon.Log, TimeProvider.System, metrics => new ClientMetrics(runner, watch).AddTo(metrics));
    await host.StartAsync();
    daemon.Log.Started("mf-smtp-client");
    daemon.OnReload(
        async changed => $"rerouted={await runner.ReloadAsync(changed)}",
        DaemonProgram.NeedRestart,
        notifier);
    Task alerts = Task.WhenAll(watch.RunAsync(lifetime.ApplicationStopping), webhook.RunAsync(lifetime.ApplicationStopping));
    Task figures = FiguresOf(runner, watch, settings.RunDirectory).RunAsync(lifetime.ApplicationStopping);
    // A runner that fails ends the process, with an exit code that makes the service manager start it again.
    Task running = runner.RunAsync(lifetime.ApplicationStopping);
    _ = running.ContinueWith(_ => lifetime.StopApplication(), TaskScheduler.Default);
    Task notices = notifier is null ? Task.CompletedTask : NoticeOf(notifier, runner, watch, daemon).RunAsync(lifetime.ApplicationStopping);
    await host.WaitForShutdownAsync();
    await running;
    await alerts;
    watch.Remember();
    await notices;
    await figures;
});

static FigureKeeper FiguresOf(QueueRunner runner, AlertWatch alerts, string runDirectory) => new("mf-smtp-client", runDirectory, TimeProvider.System,
    () =>
    [
        (Figure.Delivered, runner.Figures.Recipients(Disposition.Delivered)),
        (Figure.Deferred, runner.Figures.Recipients(Disposition.Deferred)),
        (Figure.Failed, runner.Figures.Recipients(Disposition.Failed)),
    ],
    () => runner.Sessions,
    () => [.. alerts.Up.Select(alert => new RaisedAlert(alert.RuleName, alert.Subject, alert.Value, alert.Since))]);

static ServiceNotice NoticeOf(ISystemdNotifier notifier, QueueRunner runner, AlertWatch alerts, Daemon daemon) => new(
    state => notifier.Notify(new ServiceState(state)),
    () => runner.IsAlive,
    () =>
    {
        (QueueSummary? queue, IReadOnlyList<string> listed) = runner.Overview();
        return ClientStatus.Of(queue, listed, alerts.Status, daemon.Log.Lost);
    },
    TimeProvider.System);
