using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>What an attempt came to: journal first, then table, schedule and log.</summary>
internal sealed partial class QueueRunner
{
    public void Finish(Attempt attempt)
    {
        Delivery delivery = attempt.Delivery;
        Verdict[] verdicts = [.. attempt.Outcomes.Select(ReplyClassifier.Classify)];
        Settle(attempt, verdicts);

        List<int> open = [.. Enumerable.Range(0, verdicts.Length).Where(i => verdicts[i].Disposition != Disposition.Delivered)];
        if (open.Count == 0)
        {
            Drop(delivery);
            LogAttempt(attempt, verdicts, default);
            return;
        }
        bool counts = open.Any(i => verdicts[i].CountsAsAttempt);
        int attempts = delivery.Attempts + (counts ? 1 : 0);
        DateTimeOffset next = Time.GetUtcNow() + RetrySchedule.WaitAfter(Math.Max(attempts, 1), Settings.Client.Retry);
        LogAttempt(attempt, verdicts, next);
        Defer(delivery with
        {
            Recipients = [.. open.Select(i => delivery.Recipients[i])],
            Attempts = attempts,
            NextAttempt = next,
            LastReply = attempt.Outcomes[open[0]].ToString(),
        });
        if (open.Any(i => verdicts[i].Scope == Scope.Host && attempt.Outcomes[i].Failure != Failure.Cancelled))
            Pause(attempt.Server, next);
    }

    /// <summary>A message that cannot be read from the spool is held, where an operator finds it with the reason.</summary>
    public void SetAside(Delivery delivery, string damage)
    {
        Log.Unreadable(delivery, damage);
        Update(delivery with { Hold = true, LastReply = damage });
    }

    /// <summary>Journaled before anything else: from here on no crash makes a duplicate of them.</summary>
    private void Settle(Attempt attempt, Verdict[] verdicts)
    {
        Span<SettledRecipient> settled = verdicts.Length <= 32 ? stackalloc SettledRecipient[verdicts.Length] : new SettledRecipient[verdicts.Length];
        int count = 0;
        for (int i = 0; i < verdicts.Length; i++)
        {
            if (verdicts[i].Disposition == Disposition.Delivered)
                settled[count++] = new SettledRecipient(attempt.Delivery.Position, attempt.Delivery.Recipients[i].Ordinal);
        }
        if (count > 0)
            _keeper.Settle(attempt.Message, attempt.Delivery.Position, settled[..count]);
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

    /// <summary>A failing host is left alone until the failed delivery is due: what is due for it waits, and no attempt is counted.</summary>
    private void Pause(MailServer server, DateTimeOffset until)
    {
        lock (_gate)
        {
            if (!_servers.TryGetValue($"{server.Domain} {server.Address}", out MailServerQueue? queue))
                return;
            foreach (Delivery delivery in queue.TakeAll())
                _later.Enqueue(delivery, until);
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
