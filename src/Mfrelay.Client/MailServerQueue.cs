using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// What is due for one mail server, and the workers that send it: at most as many sessions as its concurrency, made when there is more to
/// do than those at work take at once and idle ones can take, kept open for a while when there is nothing. New mail goes before what was tried
/// already.
/// </summary>
#pragma warning disable CA1001 // its timer rings once more after 5 ms at most, and is collected with it
internal sealed class MailServerQueue
#pragma warning restore CA1001
{
    /// <summary>So many rows are in memory, unless there may be more sessions than half of them; the others wait in the table.</summary>
    public const int Capacity = 1000;

    /// <summary>Of so many, one is a retry even when there is always new mail.</summary>
    private const int RetryEvery = 8;

    /// <summary>
    /// What a message may wait for a session that is at work before another is woken or opened for it. A mail server that takes less than that for a
    /// message gets many of them over few sessions, each behind the one before (<see cref="TakeAhead"/>); from any other each gets its own.
    /// </summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(5);

    private readonly QueueRunner _runner;
    private readonly Queue<Delivery> _fresh = [];
    private readonly Queue<Delivery> _retries = [];
    private readonly SessionSettings _settings;
    private readonly HashSet<Task> _workers = [];

    /// <summary>Workers that wait for something to do. The last one to come is the first to go, so that the others' idle time runs.</summary>
    private readonly List<IdleWorker> _waiting = [];

    private bool _retired;
    private int _sessions;

    /// <summary>Of the sessions, those that were begun or woken and have not yet looked for something to do.</summary>
    private int _coming;

    private int _limit = int.MaxValue;
    private int _throughLimit;
    private int _turns;
    private TimeSpan _nextSend;

    /// <summary>How long a session lately took for a message; zero as long as nothing is known.</summary>
    private TimeSpan _pace;

    /// <summary>Rings while messages wait for sessions at work.</summary>
    private readonly Deadline _patience;

    /// <summary>Messages that were taken, in all and when <see cref="_patience"/> was set.</summary>
    private long _taken, _takenBefore = -1;

    public MailServerQueue(MailServer server, QueueRunner runner)
    {
        (Server, _runner, _settings) = (server, runner, SessionSettings.Of(runner.Settings, server));
        _patience = new Deadline(runner.Time, EndPatience);
    }

    public MailServer Server { get; }

    /// <summary>It has once left unanswered what came behind mail data, though it says PIPELINING: never again.</summary>
    public bool NothingAhead { get; set; }

    /// <summary>How many more rows may be handed to it.</summary>
    public int Room
    {
        get
        {
            lock (_workers)
                return Most - Waiting;
        }
    }

    /// <summary>Sessions that are open or opening.</summary>
    public int Sessions
    {
        get
        {
            lock (_workers)
                return _sessions;
        }
    }

    /// <summary>No session and nothing to do.</summary>
    public bool IsIdle
    {
        get
        {
            lock (_workers)
                return _sessions == 0 && Waiting == 0;
        }
    }

    private int Waiting => _fresh.Count + _retries.Count;

    private int Most => Math.Max(Capacity, 2 * Server.Concurrency);

    public void Add(Delivery delivery)
    {
        lock (_workers)
        {
            (delivery.Attempts == 0 ? _fresh : _retries).Enqueue(delivery);
            Employ();
        }
    }

    /// <summary>After a recovery: one session, and twice as many each time as many messages as there are sessions got through.</summary>
    public void Ramp()
    {
        lock (_workers)
            (_limit, _throughLimit) = (1, 0);
    }

    /// <summary>A message got through.</summary>
    public void Succeeded()
    {
        lock (_workers)
        {
            if (_limit >= Server.Concurrency || ++_throughLimit < _limit)
                return;
            _limit *= 2;
            _throughLimit = 0;
            Employ();
        }
    }

    /// <summary>The host has failed: what is due for it goes back to the schedule.</summary>
    public IEnumerable<Delivery> TakeAll()
    {
        while (TakeAny() is { } delivery)
            yield return delivery;
    }

    /// <summary>The config changed: sessions end after the attempts that run. Returns what is due for it.</summary>
    public IEnumerable<Delivery> Retire()
    {
        lock (_workers)
        {
            _retired = true;
            while (_waiting.Count > 0)
                Wake(_waiting[^1]);
        }
        return TakeAll();
    }

    /// <summary>Completes when all sessions are closed; they close once the runner stops.</summary>
    public Task WhenIdleAsync()
    {
        lock (_workers)
            return Task.WhenAll(_workers);
    }

    /// <summary>
    /// Within the lock: has a worker come for each message that none is coming for and that does not soon come to one at work, at most as many at work
    /// as there may be sessions now. Those at work look again after each message.
    /// </summary>
    private void Employ(bool patiently = true)
    {
        while (Waiting > _coming && AtWork < Limit && !_runner.Stopping.IsCancellationRequested)
        {
            if (patiently && AreEnough)
            {
                BePatient();
                return;
            }
            if (_waiting.Count > 0)
            {
                Wake(_waiting[^1]);
                continue;
            }
            _sessions++;
            _coming++;
            Task worker = Task.Run(WorkAsync);
            _workers.Add(worker);
            _ = worker.ContinueWith(Remove, TaskScheduler.Default);
        }
    }

    /// <summary>Sessions that do not wait for something to do.</summary>
    private int AtWork => _sessions - _waiting.Count;

    /// <summary>Those at work take all that waits in less than <see cref="Patience"/>, going by how they did lately.</summary>
    private bool AreEnough => _pace > TimeSpan.Zero && Waiting * _pace < AtWork * Patience;

    private void BePatient()
    {
        if (_takenBefore >= 0)
            return;
        _takenBefore = _taken;
        _patience.Set(Patience);
    }

    /// <summary>Nothing was taken in all that time: whatever those at work hang on, the others know nothing of it.</summary>
    private void EndPatience()
    {
        lock (_workers)
        {
            bool stuck = _takenBefore == _taken;
            _takenBefore = -1;
            if (Waiting > 0)
                Employ(patiently: !stuck);
        }
    }

    /// <summary>What a message took tells how many sessions the next ones need.</summary>
    private void Took(TimeSpan time)
    {
        lock (_workers)
        {
            _pace = _pace == TimeSpan.Zero ? time : _pace + ((time - _pace) / 8);
            Employ();
        }
    }

    private void Remove(Task worker)
    {
        lock (_workers)
            _workers.Remove(worker);
    }

    private async Task WorkAsync()
    {
        var worker = new DeliveryWorker(this, _settings, _runner);
        using var idle = new IdleWorker(this, _runner);
        lock (_workers)
            _coming--;
        while (await WaitAsync(idle))
        {
            while ((worker.Next ?? Take()) is { } delivery)
            {
                long began = _runner.Time.GetTimestamp();
                await AttemptAsync(worker, delivery);
                Took(_runner.Time.GetElapsedTime(began));
            }
        }
        await worker.CloseAsync();
    }

    /// <summary>Whatever becomes of an attempt, the worker lives on and the delivery is not forgotten.</summary>
    private async Task AttemptAsync(DeliveryWorker worker, Delivery delivery)
    {
        try
        {
            if (_settings.MessagesPerSecond > 0)
                await PaceAsync();
            await worker.AttemptAsync(delivery);
        }
        catch (OperationCanceledException) when (_runner.Aborting.IsCancellationRequested || _runner.Stopping.IsCancellationRequested)
        {
            // Cut off at the end of the process.
        }
        catch (Exception e)
        {
            _runner.Log.Unexpected($"worker {Server.Address}", e);
            await worker.CloseAsync();
            _runner.PutBack(delivery);
        }
    }

    /// <summary>Waits for the next of the evenly spaced moments of messages_per_second.</summary>
    private Task PaceAsync()
    {
        // Not by the wall clock, which may be set back.
        TimeSpan now = _runner.Time.GetElapsedTime(0);
        TimeSpan wait;
        lock (_workers)
        {
            TimeSpan slot = _nextSend > now ? _nextSend : now;
            _nextSend = slot + (TimeSpan.FromSeconds(1) / _settings.MessagesPerSecond);
            wait = slot - now;
        }
        return wait > TimeSpan.Zero ? Task.Delay(wait, _runner.Time, _runner.Stopping) : Task.CompletedTask;
    }

    /// <summary>False when the idle time is over, the config changed or the runner stops: the worker ends, and the count of sessions knows it.</summary>
    private async ValueTask<bool> WaitAsync(IdleWorker worker)
    {
        for (bool over = false; ; over = worker.IsOver)
        {
            Task woken;
            lock (_workers)
            {
                if (MayWork())
                    return true;
                if (over || _retired || _runner.Stopping.IsCancellationRequested)
                {
                    _sessions--;
                    return false;
                }
                woken = worker.WaitAsync(_settings.IdleTimeout);
                _waiting.Add(worker);
            }
            await woken;
            lock (_workers)
                _coming--;
        }
    }

    /// <summary>Within the lock, for a worker that does not wait: there is something to do, and it is none too many.</summary>
    private bool MayWork() => Waiting > 0 && AtWork <= Limit && !_runner.Stopping.IsCancellationRequested;

    /// <summary>Most sessions at work.</summary>
    private int Limit => Math.Min(Server.Concurrency, _limit);

    /// <summary>Within the lock. False for a worker that does not wait: it is left alone.</summary>
    private bool Wake(IdleWorker worker)
    {
        if (!_waiting.Remove(worker))
            return false;
        _coming++;
        worker.Wake();
        return true;
    }

    private Delivery? Take() => _runner.Stopping.IsCancellationRequested ? null : TakeAny();

    /// <summary>
    /// For a session that has not done with one message yet: the next one, so that both share a round trip. Null when that could make one wait that
    /// another session could take: there must be more than one for each; or those at work are trusted to take it at once, then it waits if the mail server
    /// hangs on the mail data before it, against its habit. Only new mail, when it is its turn, and none that takes time to open or more than one transaction.
    /// </summary>
    public Delivery? TakeAhead()
    {
        lock (_workers)
        {
            if (NothingAhead || _retired || _runner.Stopping.IsCancellationRequested || _settings.MessagesPerSecond > 0
                || !(AreEnough ? Waiting > _coming : Waiting > _sessions && AtWork >= Limit) || !_fresh.TryPeek(out Delivery? first)
                || first.Size > IncomingMessage.MemoryLimit || first.Recipients.Count > _settings.MaxRecipientsPerTransaction
                || (_retries.Count > 0 && (_turns + 1) % RetryEvery == 0))
            {
                return null;
            }
            return TakeAny();
        }
    }

    /// <summary>What was taken ahead, from a session that ended before it was tried.</summary>
    public void GiveBack(Delivery delivery)
    {
        lock (_workers)
        {
            if (!_retired)
            {
                Add(delivery);
                return;
            }
        }
        _runner.PlaceAgain(delivery);
    }

    private Delivery? TakeAny()
    {
        lock (_workers)
        {
            bool retryFirst = _retries.Count > 0 && (_fresh.Count == 0 || ++_turns % RetryEvery == 0);
            if (!(retryFirst ? _retries : _fresh).TryDequeue(out Delivery? delivery))
                return null;
            _taken++;
            if (Waiting == Most / 2)
                _runner.HasRoom();
            return delivery;
        }
    }

    /// <summary>What a worker waits on while there is nothing to do for it.</summary>
    private sealed class IdleWorker : IDisposable
    {
        private readonly Deadline _deadline;
        private readonly CancellationTokenRegistration _stopping;
        private TaskCompletionSource _woken = new();

        public IdleWorker(MailServerQueue queue, QueueRunner runner)
        {
            _deadline = new Deadline(runner.Time, () => End(queue));
            _stopping = runner.Stopping.UnsafeRegister(_ => End(queue), null);
        }

        /// <summary>It has waited for as long as a session may be idle, or the runner stops.</summary>
        public bool IsOver { get; private set; }

        public Task WaitAsync(TimeSpan idleTimeout)
        {
            IsOver = false;
            _woken = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _deadline.Set(idleTimeout);
            return _woken.Task;
        }

        public void Wake()
        {
            _deadline.Lift();
            _woken.SetResult();
        }

        public void Dispose()
        {
            _deadline.Dispose();
            _stopping.Dispose();
        }

        private void End(MailServerQueue queue)
        {
            lock (queue._workers)
                IsOver = queue.Wake(this);
        }
    }
}
