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
    await using var runner = new QueueRunner(settings, directory, daemon.Log, TimeProvider.System);

    HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
    builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = settings.Client.ShutdownTimeout + TimeSpan.FromSeconds(3));
    DaemonProgram.AddSystemd(builder.Services);
    using IHost host = builder.Build();
    IHostApplicationLifetime lifetime = host.Services.GetRequiredService<IHostApplicationLifetime>();

    await host.StartAsync();
    daemon.Log.Started("mf-smtp-client");
    daemon.OnReload(
        async changed => $"rerouted={await runner.ReloadAsync(changed)}",
        DaemonProgram.NeedRestart,
        host.Services.GetService<ISystemdNotifier>());
    Task alerts = new AlertWatch(runner, directory).RunAsync(lifetime.ApplicationStopping);
    // A runner that fails ends the process, with an exit code that makes the service manager start it again.
    Task running = runner.RunAsync(lifetime.ApplicationStopping);
    _ = running.ContinueWith(_ => lifetime.StopApplication(), TaskScheduler.Default);
    await host.WaitForShutdownAsync();
    await running;
    await alerts;
});
