using NLog.Common;
using NLog.Targets;
using NLog.Targets.Wrappers;

namespace Mfrelay.Core;

/// <summary>
/// NLog's queue in front of a target, woken once for all lines of ten milliseconds, and not at all while there are none. Its own choices are
/// a wake-up for nearly every line, or a timer that runs for ever.
/// </summary>
internal sealed class BatchingQueue : AsyncTargetWrapper
{
    private const int Capacity = 50_000;
    private const int BatchMilliseconds = 10;

    private int _written;
    private int _armed;

    public BatchingQueue(Target target, AsyncTargetWrapperOverflowAction whenFull)
        : base(target, Capacity, whenFull)
    {
        TimeToSleepBetweenBatches = BatchMilliseconds;
        BatchSize = Capacity; // one batch leaves nothing behind
    }

    protected override void Write(AsyncLogEventInfo logEvent)
    {
        base.Write(logEvent);
        Volatile.Write(ref _written, 1);
        Arm();
    }

    /// <summary>NLog calls this after every batch, to wait for the next one: only if a line has come since the last.</summary>
    protected override void StartLazyWriterTimer()
    {
        Volatile.Write(ref _armed, 0);
        if (Interlocked.Exchange(ref _written, 0) == 1)
            Arm();
    }

    private void Arm()
    {
        if (Interlocked.Exchange(ref _armed, 1) == 0)
            base.StartLazyWriterTimer();
    }
}
