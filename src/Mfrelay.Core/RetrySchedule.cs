namespace Mfrelay.Core;

/// <summary>When a deferred delivery is tried again (C8): a list of waits, of which the last repeats.</summary>
public static class RetrySchedule
{
    /// <param name="attempts">Attempts that have ended, at least 1.</param>
    public static TimeSpan WaitAfter(int attempts, IReadOnlyList<TimeSpan> retry) => retry[Math.Clamp(attempts, 1, retry.Count) - 1];
}
