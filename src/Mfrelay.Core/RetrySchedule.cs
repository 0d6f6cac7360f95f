namespace Mfrelay.Core;

/// <summary>When a deferred delivery is tried again, and for how long (C8). Pure; jitter comes in as a number.</summary>
public static class RetrySchedule
{
    /// <param name="attempts">Attempts that have ended, at least 1.</param>
    public static TimeSpan WaitAfter(int attempts, IReadOnlyList<TimeSpan> retry) => retry[Math.Clamp(attempts, 1, retry.Count) - 1];

    /// <summary>The time of the next attempt: never beyond the end of the lifetime, where the last one is made.</summary>
    /// <param name="chance">From 0 to 1: how much of the jitter is added.</param>
    public static DateTimeOffset Next(int attempts, DateTimeOffset now, DateTimeOffset arrival, bool isBounce, ClientSettings settings, double chance)
    {
        TimeSpan wait = WaitAfter(attempts, settings.Retry);
        DateTimeOffset next = now + wait + (wait * (settings.RetryJitter / 100.0 * chance));
        DateTimeOffset expiry = Expiry(arrival, isBounce, settings);
        return next > expiry && now < expiry ? expiry : next;
    }

    /// <summary>When an attempt that fails is the last one.</summary>
    public static DateTimeOffset Expiry(DateTimeOffset arrival, bool isBounce, ClientSettings settings) =>
        arrival + (isBounce ? settings.BounceLifetime : settings.Lifetime);

    /// <summary>Whether it is time to tell the sender of the delay. Nobody is told about a bounce.</summary>
    public static bool IsWarningDue(DateTimeOffset arrival, bool isBounce, DateTimeOffset now, ClientSettings settings) =>
        settings.DelayWarning > TimeSpan.Zero && !isBounce && now - arrival >= settings.DelayWarning;
}
