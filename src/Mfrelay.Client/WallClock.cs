namespace Mfrelay.Client;

/// <summary>
/// The wall clock of schedules and lifetimes, and how to live with its jumps (an operator's or NTP's correction, a machine that was asleep): time that
/// has not passed counts for nothing. Not safe for use by several threads.
/// </summary>
internal sealed class WallClock(TimeProvider time)
{
    /// <summary>Less is a slow thread or a clock that is being slewed.</summary>
    private static readonly TimeSpan Tolerance = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan Apart = TimeSpan.FromSeconds(1);

    private readonly List<(DateTimeOffset From, TimeSpan By)> _forward = [];
    private DateTimeOffset _now = time.GetUtcNow();
    private long _stamp = time.GetTimestamp();

    /// <summary>By how much the clock has jumped since the last look; zero when it has not.</summary>
    public TimeSpan Look()
    {
        long stamp = time.GetTimestamp();
        DateTimeOffset now = time.GetUtcNow();
        if (time.GetElapsedTime(stamp) > Apart)
            return TimeSpan.Zero; // not two readings of one moment: the next look tells
        DateTimeOffset expected = _now + time.GetElapsedTime(_stamp, stamp);
        (_now, _stamp) = (now, stamp);
        TimeSpan jump = now - expected;
        if (jump.Duration() < Tolerance)
            return TimeSpan.Zero;
        if (jump > TimeSpan.Zero)
            _forward.Add((expected, jump));
        return jump;
    }

    /// <summary>
    /// When something that has a time of before the jumps would have happened by the clock as it is now: what was an hour old is an hour old, and nobody's
    /// lifetime is over at once. After a jump back what is old seems younger, and lives longer by that.
    /// </summary>
    public DateTimeOffset SinceJumps(DateTimeOffset then)
    {
        foreach ((DateTimeOffset from, TimeSpan by) in _forward)
        {
            if (then <= from)
                then += by;
        }
        return then;
    }
}
