using System.Runtime.InteropServices;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>What an attempt came to: journal first, then notices, table, schedule and log.</summary>
internal sealed partial class QueueRunner
{
    public async Task FinishAsync(Attempt attempt)
    {
        Delivery delivery = attempt.Delivery;
        Verdict[] verdicts = Array.ConvertAll(attempt.Outcomes, ReplyClassifier.Classify);
        await SettleAsync(attempt.Message, delivery, i => verdicts[i].Disposition == Disposition.Delivered);

        Outcome? host = HostFailure(attempt, verdicts);
        if (host is { } failure)
            HostFailed(attempt, failure);
        else if (Array.Exists(attempt.Outcomes, outcome => outcome.Reply is not null))
            _checkList.DeliverySucceeded(attempt.Server);
        if (Settings.Client.OnRecovery == OnRecovery.Release && Array.Exists(verdicts, verdict => verdict.Disposition == Disposition.Delivered))
            RampUp(attempt.Server);

        DateTimeOffset now = Time.GetUtcNow();
        if (now >= ExpiryOf(delivery))
        {
            for (int i = 0; i < verdicts.Length; i++)
            {
                if (verdicts[i].Disposition == Disposition.Deferred && attempt.Outcomes[i].Failure != Failure.Cancelled)
                    verdicts[i] = verdicts[i] with { Disposition = Disposition.Failed, Status = ReplyClassifier.Expired };
            }
        }
        bool warned = await ReportAsync(attempt, verdicts, IsWarningDue(delivery, now));

        DateTimeOffset next = now;
        int attempts = delivery.Attempts;
        if (Array.Exists(verdicts, verdict => verdict.Disposition == Disposition.Deferred))
        {
            attempts += Array.Exists(verdicts, verdict => verdict.Disposition == Disposition.Deferred && verdict.CountsAsAttempt) ? 1 : 0;
            // failover = "next": the other mail servers of the route have their chance in the same attempt.
            if (host is null || Settings.Client.Failover != Failover.Next || !HasUnlisted(delivery))
                next = NextAttemptOf(delivery, attempts, now);
        }
        LogAttempt(attempt, verdicts, next);
        int last = Array.FindIndex(verdicts, verdict => verdict.Disposition == Disposition.Deferred);
        string? lastReply = last < 0 ? null : attempt.Outcomes[last].ToString(); // now: the row may come late, and the message is not to be kept for it
        EndAttempt(delivery, row => row with
        {
            Attempts = attempts,
            NextAttempt = next,
            Warned = row.Warned || warned,
            LastReply = lastReply ?? row.LastReply,
        });
    }

    /// <summary>A message that cannot be read from the spool is held, where an operator finds it with the reason.</summary>
    public void SetAside(Delivery delivery, string damage)
    {
        Log.Unreadable(delivery, damage);
        EndAttempt(delivery, row => row with { Hold = true, LastReply = damage });
    }

    /// <summary>After an attempt that ended in an exception: what of it is not settled waits for another one, as long as there may be one.</summary>
    public void PutBack(Delivery delivery)
    {
        DateTimeOffset now = Time.GetUtcNow();
        int attempts = delivery.Attempts + 1;
        if (now < ExpiryOf(delivery))
        {
            DateTimeOffset next = NextAttemptOf(delivery, attempts, now);
            EndAttempt(delivery, row => row with { Attempts = attempts, NextAttempt = next });
            return;
        }
        lock (_gate)
        {
            foreach (Delivery open in LetGoOpen(delivery))
                GiveUp(open);
        }
    }

    /// <summary>
    /// What failed is reported and then settled; what was relayed to where no report will come from is reported (RFC 3461 5.2.2), and what is deferred
    /// if its sender is to be warned.
    /// </summary>
    /// <returns>Whether the sender was warned.</returns>
    private async Task<bool> ReportAsync(Attempt attempt, Verdict[] verdicts, bool warn)
    {
        Envelope envelope = attempt.Message.Envelope;
        List<DsnRecipient> reports = [];
        for (int i = 0; i < verdicts.Length; i++)
        {
            Recipient recipient = envelope.Recipients[attempt.Delivery.Recipients[i].Ordinal];
            DsnAction? action = verdicts[i].Disposition switch
            {
                Disposition.Failed => DsnAction.Failed,
                Disposition.Deferred => warn && attempt.Outcomes[i].Failure != Failure.Cancelled ? DsnAction.Delayed : null,
                Disposition.Delivered => DsnPolicy.Wants(envelope, recipient, DsnAction.Relayed, attempt.NextHopHasDsn) ? DsnAction.Relayed : null,
            };
            if (action is { } what)
            {
                reports.Add(new DsnRecipient(recipient, what, verdicts[i].Status, attempt.Outcomes[i], attempt.Peer, Time.GetUtcNow(),
                    what == DsnAction.Delayed ? ExpiryOf(attempt.Delivery) : null));
            }
        }
        if (reports.Count == 0)
            return false;
        bool reported = await _postmaster.ReportAsync(attempt.Message, reports);
        for (int i = 0; !reported && i < verdicts.Length; i++)
        {
            if (verdicts[i].Disposition == Disposition.Failed)
                verdicts[i] = verdicts[i] with { Disposition = Disposition.Deferred };
        }
        await SettleAsync(attempt.Message, attempt.Delivery, i => verdicts[i].Disposition == Disposition.Failed);
        return reported && reports.Exists(report => report.Action == DsnAction.Delayed);
    }

    /// <summary>
    /// Journaled before anything else: from here on no crash makes a duplicate of them. While that fails (the disk is full) the worker
    /// stays here and sends nothing more: what it would send could not be written down either.
    /// </summary>
    private async Task SettleAsync(SpooledMessage message, Delivery delivery, Func<int, bool> which)
    {
        var settled = new List<SettledRecipient>(delivery.Recipients.Count);
        for (int i = 0; i < delivery.Recipients.Count; i++)
        {
            if (which(i))
                settled.Add(new SettledRecipient(delivery.Position, delivery.Recipients[i].Ordinal));
        }
        if (message.Size > IncomingMessage.MemoryLimit)
            await Task.Yield(); // its mail data may be removed, which syncs the journal: not in the thread of the sockets
        for (bool told = false; settled.Count > 0; told = true)
        {
            try
            {
                _keeper.Settle(message, delivery.Position, CollectionsMarshal.AsSpan(settled));
                return;
            }
            catch (IOException e)
            {
                if (!told)
                    Log.JournalFailed(delivery, e.Message);
            }
            await Task.Delay(PollInterval, Time, Aborting);
        }
    }

    private void LogAttempt(Attempt attempt, Verdict[] verdicts, DateTimeOffset next)
    {
        Delivery delivery = attempt.Delivery;
        TimeSpan delay = Time.GetUtcNow() - delivery.Arrival;
        int delivered = verdicts.Count(v => v.Disposition == Disposition.Delivered);
        int deferred = verdicts.Count(v => v.Disposition == Disposition.Deferred), failed = verdicts.Length - delivered - deferred;
        Figures.AttemptEnded(_routes.EntryOf(delivery.Route), delivered, deferred, failed, delay, attempt.Duration);
        Log.AttemptEnded(delivery, attempt.Peer, delivered, deferred, failed, delay, attempt.Duration);
        bool uncertain = false;
        for (int first = 0, end = 0; first < verdicts.Length; first = end)
        {
            (Outcome outcome, Verdict verdict) = (attempt.Outcomes[first], verdicts[first]);
            // Many recipients share one reply, that to the mail data.
            while (end < verdicts.Length && attempt.Outcomes[end] == outcome && verdicts[end] == verdict)
                end++;
            string[] to = new string[end - first];
            for (int i = 0; i < to.Length; i++)
                to[i] = delivery.Recipients[first + i].ForwardPath;
            var result = new RecipientResult(
                delivery, attempt.Message, attempt.Peer, to, outcome.StageText, outcome.ReplyText, delay, attempt.Duration);
            uncertain |= outcome.Uncertain;
            switch (verdict.Disposition)
            {
                case Disposition.Delivered:
                    Log.Delivered(result);
                    break;
                case Disposition.Deferred:
                    Log.Deferred(result, next, outcome.Uncertain);
                    break;
                case Disposition.Failed:
                    Log.Failed(result, verdict.Status.ToString(), verdict.Status == ReplyClassifier.Expired);
                    break;
            }
        }
        if (uncertain)
            Log.Uncertain(delivery, attempt.Peer, attempt.Outcomes.First(outcome => outcome.Uncertain).ToString());
        if (attempt.SentEightBit)
            Log.SentEightBit(delivery, attempt.Peer);
    }

    /// <summary>
    /// Lets a delivery go: rows without open recipients are deleted, the others written with what changed. A row that took its place
    /// meanwhile keeps what the operator wants of it.
    /// </summary>
    private void EndAttempt(Delivery delivery, Func<Delivery, Delivery> change)
    {
        lock (_gate)
        {
            List<Row> rows = LetGo(delivery);
            if (rows is [{ Delivery.Key: 0 }])
            {
                WaitForRow(delivery, change);
                return;
            }
            foreach (Row row in rows)
            {
                if (_keeper.StillOpen(row.Delivery) is not { } open)
                {
                    Delete(row);
                    continue;
                }
                Delivery after = change(open) with { Replaces = 0 };
                bool ordered = row.Delivery.Replaces != 0 && row.Delivery.Key != delivery.Key;
                after = after with { Order = ordered ? after.Order : Order.None, Hold = after.Hold || open.Hold };
                _schedule.Route(after.Route).LastReply = after.LastReply;
                Write(row.Generation, table => table.Update(after));
                if (row.Generation == _generation && !Moved(after))
                    Place(after);
            }
            _hasNewSummary = true;
        }
        _news.Writer.TryWrite(true);
    }

    /// <summary>
    /// Stays in hand, though nobody tries it, until its row comes and can be written; if there is none when it is due (the disk is full), it is
    /// tried without one.
    /// </summary>
    /// <param name="due">When it is tried without one; null: at its next attempt.</param>
    private void WaitForRow(Delivery delivery, Func<Delivery, Delivery> change, DateTimeOffset? due = null)
    {
        if (_keeper.StillOpen(delivery) is not { } open)
            return;
        TakeInHand(delivery with { Envelope = null });
        _active[(delivery.Position, delivery.Recipients[0].Ordinal)].Ended = change;
        open = change(open) with { Envelope = null };
        if (!open.Hold)
            _rowless.Enqueue(open, due ?? open.NextAttempt);
    }

    private void RetryRowless(DateTimeOffset now)
    {
        while (_rowless.TryPeek(out Delivery? delivery, out DateTimeOffset due) && due <= now)
        {
            _rowless.Dequeue();
            // Its row has come, or another attempt is under way.
            if (HandOf(delivery) is not { Ended: { } change } hand)
                continue;
            LetGo(hand.Delivery);
            if (!HandOut(delivery))
                WaitForRow(delivery, change, now + PollInterval);
        }
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

    private DateTimeOffset ArrivalOf(Delivery delivery)
    {
        lock (_gate)
            return _clock.SinceJumps(delivery.Arrival);
    }

    private DateTimeOffset NextAttemptOf(Delivery delivery, int attempts, DateTimeOffset now) => RetrySchedule.Next(
        Math.Max(attempts, 1), now, ArrivalOf(delivery), delivery.ReversePath.Length == 0, Settings.Client, _chance.NextDouble());

    private DateTimeOffset ExpiryOf(Delivery delivery) =>
        RetrySchedule.Expiry(ArrivalOf(delivery), delivery.ReversePath.Length == 0, Settings.Client);

    private static Outcome? HostFailure(Attempt attempt, Verdict[] verdicts)
    {
        int host = Array.FindIndex(verdicts, verdict => verdict.Disposition == Disposition.Deferred && verdict.Scope == Scope.Host);
        return host < 0 ? null : attempt.Outcomes[host];
    }

    /// <summary>
    /// A failing host goes on the check list (C2), and what is due for it waits instead of failing one by one (C4).
    /// </summary>
    private void HostFailed(Attempt attempt, Outcome outcome)
    {
        _checkList.DeliveryFailed(attempt.Server, outcome.ToString());
        Log.CommunicationTimedOut(attempt.Delivery, attempt.Peer);
        lock (_gate)
        {
            DateTimeOffset now = Time.GetUtcNow();
            MailServerQueue queue = QueueOf(attempt.Server);
            foreach (Delivery open in queue.TakeAll().SelectMany(LetGoOpen))
                WaitOn(_schedule.Entry(open), now);
            // Already now: new mail may come between its recovery and our hearing of it.
            if (Settings.Client.OnRecovery == OnRecovery.Release)
                queue.Ramp();
        }
    }

    private void Delete(Row row) => Write(row.Generation, table =>
    {
        table.Delete(row.Delivery);
        return true;
    });

    /// <summary>Many of these share a turn of the lease. What is lost of them in a crash, the done journal makes good.</summary>
    private void Write(long generation, Func<QueueTable, bool> change, Action? then = null) =>
        _ = Store.RunSoonAsync(table => table.Generation == generation && change(table)).ContinueWith(
            written =>
            {
                if (written.IsFaulted)
                    TableFailed(written.Exception);
                else
                    then?.Invoke();
            },
            CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
}
