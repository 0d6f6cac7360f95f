using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// The server's end of the queue: the spool that makes mail durable, the table that learns of it right after, the tap on the client's
/// shoulder.
/// </summary>
internal sealed class MailQueue : IDisposable
{
    private readonly Func<Admission> _admission;
    private readonly MailLog _log;
    private readonly QueueStore _store;
    private readonly WakeSocket _wake = new();
    private readonly string _runDirectory;
    private SpoolPosition _end;

    private MailQueue(StateDirectory directory, QueueStore store, Func<Admission> admission, MailLog log, TimeProvider time, long highest, SpoolPosition mark)
    {
        (_store, _admission, _log) = (store, admission, log);
        _runDirectory = admission().Settings.RunDirectory;
        _end = mark;
        Ids = new QueueIdSource(time, Math.Max(highest, mark.Segment));
        Spool = new SpoolWriter(directory.Spool, SpoolOwner.Server, Ids, records => _ = IndexAsync(records));
    }

    public QueueStore Store => _store;
    public QueueIdSource Ids { get; }
    public SpoolWriter Spool { get; }

    /// <summary>Makes good what an earlier run left, and brings the table up to the spool. Throws <see cref="StateException"/>.</summary>
    public static async Task<MailQueue> OpenAsync(StateDirectory directory, Func<Admission> admission, MailLog log, TimeProvider time)
    {
        long highest = SpoolIndexer.SealLeftovers(directory.Spool, SpoolOwner.Server, log);
        var store = new QueueStore(directory, () => admission().Routes, log, time);
        SpoolPosition mark = await store.RunAsync(table =>
        {
            store.CatchUp(SpoolOwner.Server, table);
            return table.Mark(SpoolOwner.Server);
        });
        return new MailQueue(directory, store, admission, log, time, highest, mark);
    }

    public void Dispose()
    {
        Spool.Dispose();
        _store.Dispose();
        _wake.Dispose();
    }

    // On the spool's thread, in the order of the positions.
    private async Task IndexAsync(IReadOnlyList<SpooledRecord> records)
    {
        SpoolPosition from = _end;
        SpoolPosition to = _end = records[^1].End;
        try
        {
            await _store.RunAsync(table =>
                table.InsertUpTo(SpoolOwner.Server, from, to, records.SelectMany(Split), t => _store.CatchUp(SpoolOwner.Server, t)));
            _wake.Wake(_runDirectory, WakeSocket.ClientName);
        }
        catch (Exception e)
        {
            // The mail is in the spool; the next start indexes it.
            _log.Unexpected("queue table", e);
        }
    }

    private IEnumerable<Delivery> Split(SpooledRecord record) => _admission().Routes.Split(record.Envelope, record.Position, record.Size);
}
