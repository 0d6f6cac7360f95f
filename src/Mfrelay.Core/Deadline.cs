namespace Mfrelay.Core;

/// <summary>
/// The time at which something is to ring, set and lifted many times for each time that it rings. The timer under it is left running: when it
/// rings early, it is wound up for the rest. So setting and lifting leave the runtime's queue of timers alone, which has one lock for the process
/// and a thread to wake.
/// </summary>
internal sealed class Deadline : IDisposable
{
    private const long Never = long.MaxValue;

    private readonly TimeProvider _time;
    private readonly Action _ring;
    private readonly ITimer _timer;
    private readonly Lock _gate = new();
    private long _due = Never;
    private long _timerDue = Never;
    private bool _hasRung;

    /// <param name="ring">Called by a thread of the clock's.</param>
    public Deadline(TimeProvider time, Action ring)
    {
        (_time, _ring) = (time, ring);
        _timer = time.CreateTimer(static deadline => ((Deadline)deadline!).TimerRings(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>It has rung, or is about to, at least once.</summary>
    public bool HasRung
    {
        get
        {
            lock (_gate)
                return _hasRung;
        }
    }

    /// <summary>Rings after so long, and not at the time that was set before. At once when it is not positive.</summary>
    public void Set(TimeSpan after)
    {
        if (after < TimeSpan.Zero)
            after = TimeSpan.Zero;
        lock (_gate)
        {
            _due = _time.GetTimestamp() + (long)(after.TotalSeconds * _time.TimestampFrequency);
            if (_due < _timerDue)
                Wind(after);
        }
    }

    /// <summary>Does not ring until it is set again; but when <see cref="HasRung"/> it may do so at this very moment.</summary>
    public void Lift()
    {
        lock (_gate)
            _due = Never;
    }

    public void Dispose() => _timer.Dispose();

    private void TimerRings()
    {
        lock (_gate)
        {
            _timerDue = Never;
            if (_due == Never)
                return;
            TimeSpan left = _time.GetElapsedTime(_time.GetTimestamp(), _due);
            if (left > TimeSpan.Zero)
            {
                Wind(left);
                return;
            }
            (_due, _hasRung) = (Never, true);
        }
        _ring();
    }

    private void Wind(TimeSpan after)
    {
        _timerDue = _due;
        // A timer knows whole milliseconds and drops the rest: rounded up, or it would ring over and over in the last one.
        _timer.Change(TimeSpan.FromMilliseconds(Math.Ceiling(after.TotalMilliseconds)), Timeout.InfiniteTimeSpan);
    }
}
