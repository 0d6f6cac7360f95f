using System.Runtime.CompilerServices;
using Mfrelay.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging.Console;

namespace Mfrelay;

/// <summary>A listener could not be bound; the message tells the operator what to do.</summary>
internal sealed class ListenException(string message, Exception inner) : Exception(message, inner);

/// <summary>
/// What the two daemons' Main have in common: command line, config, log, exit codes. Compiled into both.
/// Exit codes (sysexits.h): 0 stopped as asked, 64 wrong use, 69 cannot listen, 70 unexpected error, 73 state directory not usable, 78 bad config.
/// </summary>
internal static class DaemonProgram
{
    /// <summary>
    /// A variable of the runtime's: what waits for a socket goes on in the thread that hears of it, instead of a thread of the pool that has to be woken
    /// first. So whoever may be kept busy by one peer or wait for the disk yields first (SmtpConnection, DeliveryWorker, Transaction), or has a thread of its own.
    /// </summary>
    public const string InlineCompletions = "DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS";

    public static async Task<int> RunAsync(string name, string[] args, Func<Daemon, Task> main)
    {
        // Before the first socket, which is when the runtime looks. Only for machine code: where a method has to be compiled first, and a file handle or
        // memory for that is not there, the process would end with that thread.
        if (!RuntimeFeature.IsDynamicCodeSupported && Environment.GetEnvironmentVariable(InlineCompletions) is null)
            Environment.SetEnvironmentVariable(InlineCompletions, "1");
        string path = ConfigFile.DefaultPath;
        switch (args)
        {
            case []:
                break;
            case ["--config", var file]:
                path = file;
                break;
            case ["--version"]:
                Console.WriteLine($"{name} {typeof(DaemonProgram).Assembly.GetName().Version?.ToString(3)}");
                return 0;
            case ["--help" or "-h"]:
                Console.WriteLine(Usage(name));
                return 0;
            default:
                await Console.Error.WriteLineAsync($"{name}: unknown arguments: {string.Join(' ', args)}\n{Usage(name)}");
                return 64;
        }

        ConfigLoad load = ConfigFile.Load(path);
        if (load.Settings is not { } settings)
        {
            foreach (ConfigError error in load.Errors)
                await ComplainAsync(error.ToString());
            return ConfigLoad.ExitCode;
        }

        using MailLog log = MailLog.Open(name, settings.Language, settings.LogLimit);
        try
        {
            MakeRunDirectory(settings.RunDirectory);
            Native.MakeFilesPrivate(); // the settings there have the address of the webhook, which is a secret for some
            using var daemon = new Daemon(name, path, settings, log) { Warnings = load.Warnings };
            await main(daemon);
            log.Stopped(name);
            return 0;
        }
        catch (Exception e) when (Cause(e) is { } cause)
        {
            await ComplainAsync($"{name}: {cause.Message}");
            return cause is ListenException ? 69 : 73;
        }
        catch (Exception e)
        {
            log.Unexpected(name, e);
            return 70;
        }
    }

    /// <summary>
    /// READY=1 and STOPPING=1 to the service manager. Registered by hand: AddSystemd() reads the name of the parent process, which
    /// ProtectProc=invisible hides, and then does nothing.
    /// </summary>
    public static void AddSystemd(IServiceCollection services)
    {
        if (Environment.GetEnvironmentVariable("NOTIFY_SOCKET") is null)
            return;
        services.Configure<ConsoleLoggerOptions>(options => options.FormatterName = ConsoleFormatterNames.Systemd);
        services.AddSingleton<ISystemdNotifier, SystemdNotifier>();
        services.AddSingleton<IHostLifetime, SystemdLifetime>();
    }

    /// <summary>Settings of both daemons that only a restart changes.</summary>
    public static IEnumerable<string> NeedRestart(Settings before, Settings after)
    {
        if (!string.Equals(before.StateDirectory, after.StateDirectory, StringComparison.Ordinal))
            yield return "state_directory";
        if (!string.Equals(before.RunDirectory, after.RunDirectory, StringComparison.Ordinal))
            yield return "run_directory";
        if (before.LogLimit != after.LogLimit)
            yield return "log_limit";
        if (!string.Equals(before.Server.MetricsListen, after.Server.MetricsListen, StringComparison.Ordinal))
            yield return "server.metrics_listen";
        if (!string.Equals(before.Client.MetricsListen, after.Client.MetricsListen, StringComparison.Ordinal))
            yield return "client.metrics_listen";
    }

    /// <summary>What keeps it from starting, so that "journalctl -p err" shows it too ("&lt;3&gt;": sd-daemon(3)).</summary>
    private static Task ComplainAsync(string line) =>
        Console.Error.WriteLineAsync(Environment.GetEnvironmentVariable("JOURNAL_STREAM") is null ? line : $"<3>{line.ReplaceLineEndings(" ")}");

    private static void MakeRunDirectory(string path)
    {
        try
        {
            Directory.CreateDirectory(path);
        }
        catch (IOException e)
        {
            throw new StateException($"cannot use the run directory {path}: {e.Message} Name another one with run_directory", e);
        }
    }

    private static Exception? Cause(Exception? e) => e switch
    {
        null or StateException or ListenException => e,
        UnauthorizedAccessException => new StateException($"{e.Message} Run it as the user that owns the directory, or change run_directory", e),
        _ => Cause(e.InnerException),
    };

    private static string Usage(string name) => $"""
        Usage: {name} [--config FILE]

        Runs in the foreground until SIGTERM; logs to standard output. FILE is {ConfigFile.DefaultPath} unless given.

          {name}                          as the service manager starts it
          {name} --config ./mfrelay.toml  with a config of your own
          mfrelay config check ./mfrelay.toml     shows every error in a config
        """;
}
