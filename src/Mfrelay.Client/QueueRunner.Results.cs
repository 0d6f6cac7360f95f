using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>What an attempt came to: journal first, then table, schedule and log.</summary>
internal sealed partial class QueueRunner
{
    public async Task FinishAsync(Attempt attempt)
    {
        Delivery delivery = attempt.Delivery;
        Verdict[] verdicts = [.. attempt.Outcomes.Select(ReplyClassifier.Classify)];
        await SettleAsync(attempt, verdicts);

        List<int> open = [.. Enumerable.Range(0, verdicts.Length).Where(i => verdicts[i].Disposition != Disposition.Delivered)];
        if (open.Count == 0)
        {
            _checkList.DeliverySucceeded(attempt.Server);
            if (Settings.Client.OnRecovery == OnRecovery.Release)
                RampUp(attempt.Server);
            Drop(delivery);
            LogAttempt(attempt, verdicts, default);
            return;
        }
        bool counts = open.Any(i => verdicts[i].CountsAsAttempt);
        int attempts = delivery.Attempts + (counts ? 1 : 0);
        int host = open.FindIndex(i => verdicts[i].Scope == Scope.Host && attempt.Outcomes[i].Failure != Failure.Cancelled);
        if (host >= 0)
            HostFailed(attempt, attempt.Outcomes[open[host]]);
        else
            _checkList.DeliverySucceeded(attempt.Server);
        DateTimeOffset next = Time.GetUtcNow() + RetrySchedule.WaitAfter(Math.Max(attempts, 1), Settings.Client.Retry);
        // failover = "next": the other mail servers of the route have their chance in the same attempt.
        bool failover = host >= 0 && Settings.Client.Failover == Failover.Next && HasUnlisted(delivery);
        if (failover)
            next = Time.GetUtcNow();
        LogAttempt(attempt, verdicts, next);
        Defer(delivery with
        {
            Recipients = [.. open.Select(i => delivery.Recipients[i])],
            Attempts = attempts,
            NextAttempt = next,
            LastReply = attempt.Outcomes[open[0]].ToString(),
        });
    }

    /// <summary>A message that cannot be read from the spool is held, where an operator finds it with the reason.</summary>
    public void SetAside(Delivery delivery, string damage)
    {
        Log.Unreadable(delivery, damage);
        Update(delivery with { Hold = true, LastReply = damage });
    }

    /// <summary>After an attempt that ended in an exception: what of it is not settled waits for another one.</summary>
    public void PutBack(Delivery delivery)
    {
        if (_keeper.StillOpen(delivery) is { } open)
        {
            lock (_gate)
                Wait(open);
        }
        else
        {
            Drop(delivery);
        }
    }

    /// <summary>
    /// Journaled before anything else: from here on no crash makes a duplicate of them. While that fails (the disk is full) the worker
    /// stays here and sends nothing more: what it would send could not be written down either.
    /// </summary>
    private async Task SettleAsync(Attempt attempt, Verdict[] verdicts)
    {
        SettledRecipient[] settled =
        [
            .. Enumerable.Range(0, verdicts.Length).Where(i => verdicts[i].Disposition == Disposition.Delivered)
                .Select(i => new SettledRecipient(attempt.Delivery.Position, attempt.Delivery.Recipients[i].Ordinal)),
        ];
        for (bool told = false; settled.Length > 0; told = true)
        {
            try
            {
                _keeper.Settle(attempt.Message, attempt.Delivery.Position, settled);
                return;
            }
            catch (IOException e)
            {
                if (!told)
                    Log.JournalFailed(attempt.Delivery, e.Message);
            }
            await Task.Delay(PollInterval, Time, Aborting);
        }
    }

    private void LogAttempt(Attempt attempt, Verdict[] verdicts, DateTimeOffset next)
    {
        Delivery delivery = attempt.Delivery;
        TimeSpan delay = Time.GetUtcNow() - delivery.Arrival;
        Log.AttemptEnded(delivery, attempt.Server, verdicts.Count(v => v.Disposition == Disposition.Delivered),
            verdicts.Count(v => v.Disposition == Disposition.Deferred), verdicts.Count(v => v.Disposition == Disposition.Failed), delay, attempt.Duration);
        bool uncertain = false;
        for (int i = 0; i < verdicts.Length; i++)
        {
            string to = delivery.Recipients[i].ForwardPath;
            string reply = attempt.Outcomes[i].ToString();
            uncertain |= attempt.Outcomes[i].Uncertain;
            switch (verdicts[i].Disposition)
            {
                case Disposition.Delivered:
                    Log.Delivered(delivery, to, attempt.Server, delay, reply);
                    break;
                case Disposition.Deferred:
                    Log.Deferred(delivery, to, attempt.Server, delay, next, reply);
                    break;
                case Disposition.Failed:
                    Log.Rejected(delivery, to, attempt.Server, delay, next, reply);
                    break;
            }
        }
        if (uncertain)
            Log.Uncertain(delivery, attempt.Server, attempt.Outcomes.First(outcome => outcome.Uncertain).ToString());
    }

    private void Drop(Delivery delivery)
    {
        Delivery? known;
        lock (_gate)
            _known.Remove((delivery.Position, delivery.Route), out known);
        Forget(known?.Key ?? delivery.Key);
    }

    private void Defer(Delivery delivery)
    {
        lock (_gate)
            _later.Enqueue(Update(delivery), delivery.NextAttempt);
        _news.Writer.TryWrite(true);
    }

    private void RampUp(MailServer server)
    {
        lock (_gate)
            QueueOf(server).Succeeded();
    }

    private bool HasUnlisted(Delivery delivery)
    {
        lock (_gate)
            return _routes.Named(delivery.Route) is { } route && route.MailServers.Any(server => !_checkList.IsListed(server));
    }

    /// <summary>
    /// A failing host goes on the check list (C2), and what is due for it waits instead of failing one by one (C4).
    /// </summary>
    private void HostFailed(Attempt attempt, Outcome outcome)
    {
        _checkList.DeliveryFailed(attempt.Server, outcome.ToString());
        Log.CommunicationTimedOut(attempt.Delivery, attempt.Server);
        lock (_gate)
        {
            foreach (Delivery delivery in QueueOf(attempt.Server).TakeAll())
                Wait(delivery);
        }
    }

    /// <summary>Writes a row that stays; returns it under its present key.</summary>
    private Delivery Update(Delivery delivery)
    {
        lock (_gate)
        {
            if (_known.TryGetValue((delivery.Position, delivery.Route), out Delivery? known))
                delivery = delivery with { Key = known.Key };
            _known[(delivery.Position, delivery.Route)] = delivery;
        }
        WriteDown(table => table.Update(delivery));
        return delivery;
    }

    private void Forget(long key) => WriteDown(table => table.Delete(key));

    /// <summary>Many of these share a turn of the lease. What is lost of them in a crash, the done journal makes good.</summary>
    private void WriteDown(Func<QueueTable, bool> change) =>
        _ = _store.RunAsync(change).ContinueWith(
            failed => Log.Unexpected("queue table", failed.Exception!), CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
}
