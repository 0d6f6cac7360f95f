using System.Threading.Channels;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// What is due for one mail server, in order, and the workers that send it: at most as many sessions as its concurrency, made when there
/// is more to do than idle ones can take, kept open for a while when there is nothing.
/// </summary>
internal sealed class MailServerQueue(MailServer server, QueueRunner runner)
{
    private readonly Channel<Delivery> _due = Channel.CreateUnbounded<Delivery>();
    private readonly HashSet<Task> _workers = [];
    private int _waiting;
    private int _sessions;
    private int _idle;
    private int _limit = int.MaxValue;
    private int _throughLimit;

    public MailServer Server { get; } = server;

    public void Add(Delivery delivery)
    {
        lock (_workers)
        {
            _waiting++;
            _due.Writer.TryWrite(delivery);
            StartWorkers();
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
            StartWorkers();
        }
    }

    /// <summary>The host has failed: what is due for it waits instead of failing one by one.</summary>
    public IEnumerable<Delivery> TakeAll()
    {
        while (TryTake(out Delivery? delivery))
            yield return delivery!;
    }

    /// <summary>Completes when all sessions are closed; they close once the runner stops.</summary>
    public Task WhenIdleAsync()
    {
        lock (_workers)
            return Task.WhenAll(_workers);
    }

    private void StartWorkers()
    {
        int starting = 0;
        while (_waiting > _idle + starting && _sessions < Math.Min(Server.Concurrency, _limit) && !runner.Stopping.IsCancellationRequested)
        {
            starting++;
            _sessions++;
            Task worker = Task.Run(WorkAsync);
            _workers.Add(worker);
            _ = worker.ContinueWith(Remove, TaskScheduler.Default);
        }
    }

    private void Remove(Task worker)
    {
        lock (_workers)
            _workers.Remove(worker);
    }

    private async Task WorkAsync()
    {
        var worker = new DeliveryWorker(Server, runner);
        while (await WaitAsync())
        {
            while (!runner.Stopping.IsCancellationRequested && TryTake(out Delivery? delivery))
                await AttemptAsync(worker, delivery!);
        }
        await worker.CloseAsync();
    }

    /// <summary>Whatever becomes of an attempt, the worker lives on and the delivery is not forgotten.</summary>
    private async Task AttemptAsync(DeliveryWorker worker, Delivery delivery)
    {
        try
        {
            await worker.AttemptAsync(delivery);
        }
        catch (OperationCanceledException) when (runner.Aborting.IsCancellationRequested)
        {
            // Cut off at the end of the process.
        }
        catch (Exception e)
        {
            runner.Log.Unexpected($"worker {Server.Address}", e);
            await worker.CloseAsync();
            runner.PutBack(delivery);
        }
    }

    /// <summary>False when the idle time is over or the runner stops: the worker ends, and the count of sessions knows it.</summary>
    private async ValueTask<bool> WaitAsync()
    {
        lock (_workers)
        {
            if (_waiting > 0 && !runner.Stopping.IsCancellationRequested)
                return true;
            _idle++;
        }
        bool more = false;
        try
        {
            using var limit = new CancellationTokenSource(runner.Settings.Client.IdleTimeout, runner.Time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, runner.Stopping);
            more = await _due.Reader.WaitToReadAsync(either.Token);
        }
        catch (OperationCanceledException)
        {
            // Idle for long enough.
        }
        lock (_workers)
        {
            _idle--;
            more |= _waiting > 0;
            more &= !runner.Stopping.IsCancellationRequested;
            if (!more)
                _sessions--;
            return more;
        }
    }

    private bool TryTake(out Delivery? delivery)
    {
        lock (_workers)
        {
            if (!_due.Reader.TryRead(out delivery))
                return false;
            _waiting--;
            return true;
        }
    }
}
