using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// The server's end of the queue: the spool that makes mail durable, the tap on the client's shoulder, and the table, which learns of mail a moment
/// later, and only of what the client has not settled by then: most mail is delivered without ever having a row.
/// </summary>
internal sealed class MailQueue : IDisposable
{
    private readonly Func<Admission> _admission;
    private readonly MailLog _log;
    private readonly QueueStore _store;
    /// <summary>How long mail waits for its row.</summary>
    private static readonly TimeSpan IndexLag = TimeSpan.FromMilliseconds(500);

    private readonly WakeSocket _wake = new();
    private readonly DurableEnd _durable;
    private readonly string _spoolDirectory;
    private readonly ITimer _timer;
    private readonly Lock _gate = new();
    private List<SpooledRecord> _unindexed = [];
    private readonly string _runDirectory;
    private SpoolPosition _end;

    private MailQueue(StateDirectory directory, QueueStore store, Func<Admission> admission, MailLog log, TimeProvider time, long highest, SpoolPosition mark)
    {
        (_store, _admission, _log) = (store, admission, log);
        _runDirectory = admission().Settings.RunDirectory;
        _end = mark;
        _spoolDirectory = directory.Spool;
        _durable = new DurableEnd(directory.Spool);
        _timer = time.CreateTimer(static queue => ((MailQueue)queue!).Index(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        Ids = new QueueIdSource(time, Math.Max(highest, mark.Segment));
        Spool = new SpoolWriter(directory.Spool, SpoolOwner.Server, Ids, Durable);
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
        _timer.Dispose();
        Index();
        _store.Dispose();
        _wake.Dispose();
        _durable.Dispose();
    }

    // On the spool's thread, in the order of the positions.
    private void Durable(IReadOnlyList<SpooledRecord> records)
    {
        try
        {
            _durable.Write(records[^1].End);
        }
        catch (IOException)
        {
            // No room for a file of 20 octets: the client waits for the rows.
        }
        _wake.Wake(_runDirectory, WakeSocket.ClientName);
        lock (_gate)
        {
            if (_unindexed.Count == 0)
                _timer.Change(IndexLag, Timeout.InfiniteTimeSpan);
            _unindexed.AddRange(records);
        }
    }

    private void Index()
    {
        List<SpooledRecord> records;
        SpoolPosition from, to;
        lock (_gate)
        {
            if (_unindexed.Count == 0)
                return;
            records = _unindexed;
            _unindexed = [];
            (from, to) = (_end, records[^1].End);
            _end = to;
        }
        _ = IndexAsync(records, from, to);
    }

    private async Task IndexAsync(List<SpooledRecord> records, SpoolPosition from, SpoolPosition to)
    {
        try
        {
            int rows = await _store.RunAsync(table =>
            {
                List<Delivery> open = Open(records);
                table.InsertUpTo(SpoolOwner.Server, from, to, open, t => _store.CatchUp(SpoolOwner.Server, t));
                return open.Count;
            });
            if (rows > 0)
                _wake.Wake(_runDirectory, WakeSocket.ClientName);
        }
        catch (Exception e)
        {
            // The mail is in the spool; the next start indexes it.
            _log.Unexpected("queue table", e);
        }
    }

    /// <summary>The deliveries of some messages, without what is settled already.</summary>
    private List<Delivery> Open(List<SpooledRecord> records)
    {
        RouteTable routes = _admission().Routes;
        List<Delivery> open = [];
        foreach (IGrouping<long, SpooledRecord> segment in records.GroupBy(record => record.Position.Segment))
        {
            SettledSet settled = DoneJournal.Read(_spoolDirectory, segment.Key);
            open.AddRange(segment.SelectMany(record => routes.Split(record.Envelope, record.Position, record.Size)).Select(settled.Without).OfType<Delivery>());
        }
        return open;
    }
}
