using System.Globalization;

namespace Mfrelay.Core;

/// <summary>
/// What the service manager hears while a daemon runs (sd_notify(3)): WATCHDOG=1 as long as the daemon makes progress, and a line that
/// "systemctl status" shows. READY=1 and STOPPING=1 come from the host.
/// </summary>
/// <param name="notify">Sends one state.</param>
/// <param name="isAlive">Asked each time before WATCHDOG=1 is sent.</param>
internal sealed class ServiceNotice(Action<string> notify, Func<bool> isAlive, Func<string> status, TimeProvider time)
{
    /// <summary>How old the line of status may be.</summary>
    private static readonly TimeSpan StatusPeriod = TimeSpan.FromSeconds(5);

    private string _status = "";

    /// <summary>A third of what the watchdog waits, which WATCHDOG_USEC says, when it is meant for this process; at most the period of the status.</summary>
    public static TimeSpan PeriodOf(string? watchdogMicroseconds, string? watchdogProcess, int self)
    {
        bool isOurs = watchdogProcess is null || string.Equals(watchdogProcess, self.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);
        if (!isOurs || !long.TryParse(watchdogMicroseconds, NumberStyles.None, CultureInfo.InvariantCulture, out long microseconds) || microseconds == 0)
            return StatusPeriod;
        var third = TimeSpan.FromMicroseconds(microseconds / 3.0);
        return third < StatusPeriod ? third : StatusPeriod;
    }

    public async Task RunAsync(CancellationToken cancel)
    {
        TimeSpan period = PeriodOf(
            Environment.GetEnvironmentVariable("WATCHDOG_USEC"), Environment.GetEnvironmentVariable("WATCHDOG_PID"), Environment.ProcessId);
        using var timer = new PeriodicTimer(period, time);
        try
        {
            do
                Tell();
            while (await timer.WaitForNextTickAsync(cancel));
        }
        catch (OperationCanceledException)
        {
            // Stopping: systemd has put its watchdog away by now.
        }
    }

    /// <summary>The state that says how long the end may take: as long as the config lets running transactions, whatever TimeoutStopSec of the unit is.</summary>
    public static string ExtendStop(TimeSpan limit) =>
        string.Create(CultureInfo.InvariantCulture, $"EXTEND_TIMEOUT_USEC={(long)(limit + TimeSpan.FromSeconds(10)).TotalMicroseconds}");

    internal void Tell()
    {
        if (isAlive())
            notify("WATCHDOG=1");
        string line = status();
        if (string.Equals(line, _status, StringComparison.Ordinal))
            return;
        _status = line;
        notify($"STATUS={line}");
    }
}
