using System.Diagnostics.Metrics;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Writes to senders: bounces, delay warnings, relay reports. A notice is mail like any other: in the spool and synced before the recipients that
/// it reports are settled, then in the queue table. What cannot be stored is not settled and is reported later.
/// </summary>
internal sealed class Postmaster : IDisposable
{
    private readonly QueueStore _store;
    private readonly Func<Settings> _settings;
    private readonly MailLog _log;
    private readonly TimeProvider _time;
    private readonly Action _news;
    private readonly StateDirectory _directory;
    private readonly Lock _gate = new();
    private QueueIdSource? _ids;
    private SpoolWriter? _spool;
    private SpoolPosition _end;

    /// <param name="news">Called when a notice is in the table.</param>
    public Postmaster(
        StateDirectory directory, QueueStore store, Func<Settings> settings, MailLog log, TimeProvider time, Action news) =>
        (_directory, _store, _settings, _log, _time, _news) = (directory, store, settings, log, time, news);

    /// <summary>Where each sync is measured; null: nowhere.</summary>
    public Histogram<double>? SyncTime { get; set; }

    /// <summary>Makes good what an earlier run left of its segments, and brings the table up to them.</summary>
    public async Task OpenAsync()
    {
        (_end, long highest) = await _store.TakeOverAsync(SpoolOwner.Client);
        _ids = new QueueIdSource(_time, highest, SpoolOwner.Client);
    }

    public void Dispose() => _spool?.Dispose();

    /// <summary>
    /// Tells the sender what became of some recipients, where its NOTIFY wants that (RFC 3461 4.1); nobody is told about a message without a
    /// reverse-path. False: the notice could not be stored, so those that failed must stay in the queue.
    /// </summary>
    public async Task<bool> ReportAsync(SpooledMessage message, IReadOnlyList<DsnRecipient> recipients)
    {
        Envelope envelope = message.Envelope;
        if (envelope.ReversePath.Length == 0)
        {
            foreach (DsnRecipient dropped in recipients.Where(recipient => recipient.Action == DsnAction.Failed))
                _log.BounceDropped(envelope.Id, dropped.Recipient.ForwardPath, dropped.Status.ToString(), dropped.Outcome.ToString());
            return true;
        }
        DsnRecipient[] wanted = [.. recipients.Where(one => DsnPolicy.Wants(envelope, one.Recipient, one.Action))];
        if (wanted.Length == 0)
            return true;
        DsnMail mail = new DsnWriter(DsnStyle.Of(_settings()), _time).Write(_ids!.Next(), message, wanted);
        SpoolResult result = await StoreAsync(mail);
        if (result != SpoolResult.Durable)
        {
            _log.NoticeFailed(envelope.Id, result.ToString());
            return false;
        }
        _log.NoticeQueued(envelope.Id, mail.Envelope.Id, envelope.ReversePath, wanted.Length, string.Join('+', wanted.Select(one => one.Action).Distinct()).ToLowerInvariant());
        return true;
    }

    private async Task<SpoolResult> StoreAsync(DsnMail mail)
    {
        using IncomingMessage notice = Spool().NewMessage();
        notice.Begin(mail.Envelope.Id);
        try
        {
            notice.Append(mail.Data);
        }
        catch (IOException e)
        {
            return SpoolWriter.ResultOf(e);
        }
        SpoolResult result = await notice.CommitAsync(mail.Envelope);
        await Task.Yield(); // others hear of theirs behind this, and what follows here may take time
        return result;
    }

    /// <summary>Made for the first notice: a client that bounces nothing writes no segment.</summary>
    private SpoolWriter Spool()
    {
        lock (_gate)
        {
            return _spool ??= new SpoolWriter(_directory.Spool, SpoolOwner.Client, _ids!, records => _ = IndexAsync([.. records]))
            {
                SyncTime = SyncTime,
                Troubled = reason => _log.SpoolNotWritten(_directory.Spool, reason),
            };
        }
    }

    // On the spool's thread, in the order of the positions.
    private async Task IndexAsync(IReadOnlyList<SpooledRecord> records)
    {
        SpoolPosition from = _end;
        SpoolPosition to = _end = records[^1].End;
        await _store.IndexAsync(SpoolOwner.Client, from, to, records);
        _news();
    }
}
