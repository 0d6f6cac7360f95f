using System.Threading.Channels;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>What is not tried but reported: mail whose lifetime is over while its mail servers are on the check list, mail that an operator sends back, delays.</summary>
internal sealed partial class QueueRunner
{
    /// <summary>Reports that share a sync of the spool.</summary>
    private const int ReportsAtOnce = 16;

    private readonly Channel<(Delivery Delivery, bool GiveUp)> _desk = Channel.CreateUnbounded<(Delivery, bool)>();
    private int _atDesk;

    private void GiveUp(Delivery delivery) => ToDesk(delivery, giveUp: true);

    private void Warn(Delivery delivery) => ToDesk(delivery, giveUp: false);

    private void ToDesk(Delivery delivery, bool giveUp)
    {
        TakeInHand(delivery);
        Interlocked.Increment(ref _atDesk);
        _desk.Writer.TryWrite((delivery, giveUp));
    }

    private async Task WorkAtDeskAsync(CancellationToken cancel)
    {
        try
        {
            await Parallel.ForEachAsync(
                _desk.Reader.ReadAllAsync(cancel), new ParallelOptions { MaxDegreeOfParallelism = ReportsAtOnce, CancellationToken = cancel },
                async (item, _) =>
                {
                    await ReportAsync(item.Delivery, item.GiveUp);
                    if (Interlocked.Decrement(ref _atDesk) == MailServerQueue.Capacity / 2)
                        HasRoom();
                });
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    private async Task ReportAsync(Delivery delivery, bool giveUp)
    {
        try
        {
            if (!MayBegin(delivery))
                return;
            using SpooledMessage? message = Reader.Open(delivery, out string? damage);
            if (message is null)
                SetAside(delivery, damage!);
            else if (giveUp)
                await GiveUpAsync(delivery, message);
            else
                await WarnAsync(delivery, message);
        }
        catch (Exception e)
        {
            Log.Unexpected($"report of {delivery.Id}", e);
            LeaveAsItIs(delivery);
        }
    }

    private async Task GiveUpAsync(Delivery delivery, SpooledMessage message)
    {
        Failure why = delivery.Order == Order.Bounce ? Failure.Returned : Failure.Expired;
        var outcome = Outcome.Of(Stage.Connect, why, detail: delivery.LastReply.Length > 0 ? delivery.LastReply : null);
        EnhancedStatus status = ReplyClassifier.Classify(outcome).Status;
        if (!await _postmaster.ReportAsync(message, Reports(delivery, message, DsnAction.Failed, status, outcome)))
        {
            LeaveAsItIs(delivery);
            return;
        }
        await SettleAsync(message, delivery, _ => true);
        TimeSpan delay = Time.GetUtcNow() - delivery.Arrival;
        Figures.GivenUp(_routes.EntryOf(delivery.Route), delivery.Recipients.Count);
        string[] to = [.. delivery.Recipients.Select(recipient => recipient.ForwardPath)];
        Log.Failed(new RecipientResult(delivery, message, null, to, outcome.StageText, outcome.ReplyText, delay), status.ToString(), why == Failure.Expired);
        EndAttempt(delivery, row => row);
    }

    /// <summary>Could not be reported, so nothing of it changes, not what an operator ordered either: its turn comes again in a while.</summary>
    private void LeaveAsItIs(Delivery delivery)
    {
        lock (_gate)
        {
            foreach (Delivery open in LetGoOpen(delivery))
                WaitOn(_schedule.Entry(open), Time.GetUtcNow());
        }
        _news.Writer.TryWrite(true);
    }

    private async Task WarnAsync(Delivery delivery, SpooledMessage message)
    {
        var outcome = Outcome.Of(Stage.Connect, Failure.Unreachable, detail: delivery.LastReply.Length > 0 ? delivery.LastReply : null);
        bool told = await _postmaster.ReportAsync(
            message, Reports(delivery, message, DsnAction.Delayed, new EnhancedStatus(4, 4, 7), outcome));
        DateTimeOffset next = NextAttemptOf(delivery, delivery.Attempts, Time.GetUtcNow());
        EndAttempt(delivery, row => row with { Warned = told, NextAttempt = next });
    }

    private List<DsnRecipient> Reports(Delivery delivery, SpooledMessage message, DsnAction action, EnhancedStatus status, Outcome outcome) =>
    [
        .. delivery.Recipients.Select(recipient => new DsnRecipient(
            message.Envelope.Recipients[recipient.Ordinal], action, status, outcome, null, Time.GetUtcNow(),
            action == DsnAction.Delayed ? ExpiryOf(delivery) : null)),
    ];
}
