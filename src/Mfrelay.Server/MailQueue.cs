using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// The server's end of the queue: the spool that makes mail durable, the table that learns of it right after, the tap on the client's
/// shoulder.
/// </summary>
internal sealed class MailQueue : IDisposable
{
    private readonly StateDirectory _directory;
    private readonly Func<Admission> _admission;
    private readonly MailLog _log;
    private readonly QueueStore _store;
    private readonly WakeSocket _wake = new();
    private readonly string _runDirectory;
    private SpoolPosition _end;

    private MailQueue(StateDirectory directory, Func<Admission> admission, MailLog log, TimeProvider time)
    {
        (_directory, _admission, _log) = (directory, admission, log);
        _runDirectory = admission().Settings.RunDirectory;
        _store = new QueueStore(directory, () => admission().Routes, log, time);
        long highest = SpoolIndexer.SealLeftovers(directory.Spool, SpoolOwner.Server, log);
        SpoolPosition mark = Index(default, default, []).GetAwaiter().GetResult();
        _end = mark;
        Ids = new QueueIdSource(time, Math.Max(highest, mark.Segment));
        Spool = new SpoolWriter(directory.Spool, SpoolOwner.Server, Ids, records => _ = IndexAsync(records));
    }

    public QueueIdSource Ids { get; }
    public SpoolWriter Spool { get; }

    /// <summary>Makes good what an earlier run left, and brings the table up to the spool. Throws <see cref="StateException"/>.</summary>
    public static MailQueue Open(StateDirectory directory, Func<Admission> admission, MailLog log, TimeProvider time) =>
        new(directory, admission, log, time);

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
        _end = records[^1].End;
        try
        {
            await Index(from, _end, records);
            _wake.Wake(_runDirectory, WakeSocket.ClientName);
        }
        catch (Exception e)
        {
            // The mail is in the spool; the next start indexes it.
            _log.Unexpected("queue table", e);
        }
    }

    private Task<SpoolPosition> Index(SpoolPosition from, SpoolPosition to, IReadOnlyList<SpooledRecord> records) =>
        _store.RunAsync(table =>
        {
            if (records.Count == 0)
                _store.CatchUp(SpoolOwner.Server, table);
            else
                table.InsertUpTo(SpoolOwner.Server, from, to, records.SelectMany(Split), t => _store.CatchUp(SpoolOwner.Server, t));
            return table.Mark(SpoolOwner.Server);
        });

    private IEnumerable<Delivery> Split(SpooledRecord record) => _admission().Routes.Split(record.Envelope, record.Position, record.Size);
}
