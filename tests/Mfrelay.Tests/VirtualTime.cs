namespace Mfrelay.Tests;

/// <summary>
/// A clock that a test turns. As with the system's clock, reading it runs nobody's callback: Microsoft's FakeTimeProvider runs what is due inside
/// GetUtcNow, on the reader's thread and under the reader's locks, which ends in deadlocks that the programs do not have.
/// </summary>
internal sealed class VirtualTime(DateTimeOffset start) : TimeProvider
{
    private readonly Lock _gate = new();
    private readonly HashSet<Timer> _timers = [];
    private DateTimeOffset _now = start;
    private long _made;

    public VirtualTime()
        : this(new DateTimeOffset(2000, 1, 1, 0, 0, 0, TimeSpan.Zero))
    {
    }

    /// <summary>How far each reading moves the clock.</summary>
    public TimeSpan PassesPerReading { get; init; }

    /// <summary>By how much somebody has set the clock: what has elapsed and timers do not follow.</summary>
    public TimeSpan Offset { get; set; }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Read().Ticks;

    public override DateTimeOffset GetUtcNow() => Read() + Offset;

    private DateTimeOffset Read()
    {
        lock (_gate)
            return (_now += PassesPerReading) - PassesPerReading;
    }

    public void AdvanceTo(DateTimeOffset then) => Advance(then - GetUtcNow());

    /// <summary>Runs what becomes due on the way, each at its time, on the thread of the caller.</summary>
    public void Advance(TimeSpan by)
    {
        DateTimeOffset then = Read() + by;
        while (TakeDue(then) is { } timer)
            timer.Ring();
    }

    private Timer? TakeDue(DateTimeOffset then)
    {
        lock (_gate)
        {
            Timer? first = _timers.Where(timer => timer.Due <= then).MinBy(timer => (timer.Due, timer.Made));
            if (first is null)
                _now = _now > then ? _now : then;
            else
                first.Pass(_now = _now > first.Due ? _now : first.Due);
            return first;
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(this, () => callback(state));
        timer.Change(dueTime, period);
        return timer;
    }

    private sealed class Timer(VirtualTime time, Action ring) : ITimer
    {
        private TimeSpan _period;
        private bool _disposed;

        public DateTimeOffset Due { get; private set; }
        public long Made { get; private set; }

        public void Ring() => ring();

        // Under the lock of the clock.
        public void Pass(DateTimeOffset now)
        {
            if (_period > TimeSpan.Zero)
                Due = now + _period;
            else
                time._timers.Remove(this);
        }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (time._gate)
            {
                if (_disposed)
                    return false;
                time._timers.Remove(this);
                (_period, Due, Made) = (period, time._now + dueTime, ++time._made);
                if (dueTime > TimeSpan.Zero || (dueTime == TimeSpan.Zero && period > TimeSpan.Zero))
                    time._timers.Add(this);
            }
            // What is due now runs elsewhere: the caller may hold a lock.
            if (dueTime == TimeSpan.Zero && period <= TimeSpan.Zero)
                ThreadPool.UnsafeQueueUserWorkItem(static ring => ring(), ring, preferLocal: false);
            return true;
        }

        public void Dispose()
        {
            lock (time._gate)
            {
                _disposed = true;
                time._timers.Remove(this);
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
