namespace Mfrelay.Core;

/// <summary>A sign of life of a loop that turns at least every few seconds, for the watchdog.</summary>
internal sealed class Pulse(TimeProvider time)
{
    /// <summary>How long a turn may take. What the service manager allows beyond this is up to WatchdogSec of the unit.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private long _last = time.GetTimestamp();

    public bool IsFelt => time.GetElapsedTime(Interlocked.Read(ref _last)) < Patience;

    public void Beat() => Interlocked.Exchange(ref _last, time.GetTimestamp());
}
