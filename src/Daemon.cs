using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Mfrelay.Core;
using Microsoft.Extensions.Hosting.Systemd;

namespace Mfrelay;

/// <summary>
/// A running daemon: its settings, its log, its pid file, and reload. SIGHUP has the config read and checked whole; a bad one is logged
/// with file and line and changes nothing; a good one is handed to the daemon. Compiled into both.
/// </summary>
internal sealed class Daemon : IDisposable
{
    private readonly string _configPath;
    private readonly string _pidFile;
    private readonly string _settingsFile;
    private readonly Lock _gate = new();
    private PosixSignalRegistration? _hangup;

    public Daemon(string name, string configPath, Settings settings, MailLog log)
    {
        (_configPath, Settings, Log) = (configPath, settings, log);
        _pidFile = Path.Combine(settings.RunDirectory, $"{name}.pid");
        File.WriteAllText(_pidFile, string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId}\n"));
        _settingsFile = Path.Combine(settings.RunDirectory, $"{name}.toml");
        WriteSettings();
    }

    public Settings Settings { get; private set; }

    /// <summary>Of the config as it was at the start.</summary>
    public IReadOnlyList<ConfigError> Warnings { get; init; } = [];

    public MailLog Log { get; }

    /// <param name="apply">Takes the new settings over; returns what the log says about it.</param>
    /// <param name="needRestart">Names the settings among old and new that only a restart changes.</param>
    public void OnReload(Func<Settings, Task<string>> apply, Func<Settings, Settings, IEnumerable<string>> needRestart, ISystemdNotifier? notifier) =>
        _hangup = PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal =>
        {
            signal.Cancel = true; // without it the default is to die
            _ = Task.Run(() => Reload(apply, needRestart, notifier));
        });

    public void Dispose()
    {
        _hangup?.Dispose();
        File.Delete(_pidFile);
        File.Delete(_settingsFile);
    }

    /// <summary>What is in force, and in which version, for "mfrelay config diff" and "mfrelay version".</summary>
    private void WriteSettings() => File.WriteAllText(
        _settingsFile, $"# mfrelay {typeof(Daemon).Assembly.GetName().Version?.ToString(3)} format {StateDirectory.Version}\n{ConfigText.Of(Settings)}");

    private void Reload(Func<Settings, Task<string>> apply, Func<Settings, Settings, IEnumerable<string>> needRestart, ISystemdNotifier? notifier)
    {
        lock (_gate)
        {
            // MONOTONIC_USEC: what systemd 253 and later compares the notice with (sd_notify(3)).
            long microseconds = (long)(Stopwatch.GetTimestamp() * (1_000_000.0 / Stopwatch.Frequency));
            notifier?.Notify(new ServiceState(string.Create(CultureInfo.InvariantCulture, $"RELOADING=1\nMONOTONIC_USEC={microseconds}")));
            try
            {
                Take(apply, needRestart);
            }
            catch (Exception e)
            {
                Log.Unexpected("reload", e);
            }
            notifier?.Notify(ServiceState.Ready);
        }
    }

    private void Take(Func<Settings, Task<string>> apply, Func<Settings, Settings, IEnumerable<string>> needRestart)
    {
        ConfigLoad load = ConfigFile.Load(_configPath);
        if (load.Settings is not { } settings)
        {
            foreach (ConfigError error in load.Errors)
                Log.ReloadRefused(error);
            return;
        }
        string[] later = [.. needRestart(Settings, settings)];
        Log.Language = settings.Language;
        Log.Events?.Use(settings);
        Settings = settings;
#pragma warning disable VSTHRD002 // on a thread of the pool, one reload at a time
        string what = apply(settings).GetAwaiter().GetResult();
#pragma warning restore VSTHRD002
        WriteSettings();
        Log.Reloaded(_configPath, what);
        if (later.Length > 0)
            Log.NeedsRestart(string.Join(", ", later));
    }
}
