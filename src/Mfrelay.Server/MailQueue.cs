using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// The server's end of the queue: the spool that makes mail durable, the tap on the client's shoulder, and the table, which learns of mail a moment
/// later, and only of what the client has not settled by then: most mail is delivered without ever having a row.
/// </summary>
internal sealed class MailQueue : IDisposable
{
    /// <summary>How long mail waits for its row.</summary>
    private static readonly TimeSpan IndexLag = TimeSpan.FromMilliseconds(500);

    private readonly WakeSocket _wake;
    private readonly DurableEnd _durable;
    private readonly ITimer _timer;
    private readonly Lock _gate = new();
    private List<SpooledRecord> _unindexed = [];
    private SpoolPosition _end;

    private MailQueue(StateDirectory directory, QueueStore store, string runDirectory, MailLog log, TimeProvider time, SpoolPosition mark, long highest)
    {
        (Store, _end) = (store, mark);
        _wake = WakeSocket.To(runDirectory, WakeSocket.ClientName);
        _durable = new DurableEnd(directory.Spool);
        _timer = time.CreateTimer(static queue => ((MailQueue)queue!).Index(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        FreeSpace = new FreeSpace(directory, time);
        Ids = new QueueIdSource(time, highest);
        Spool = new SpoolWriter(directory.Spool, SpoolOwner.Server, Ids, Durable) { Troubled = reason => log.SpoolNotWritten(directory.Spool, reason) };
    }

    public QueueStore Store { get; }
    public QueueIdSource Ids { get; }
    public SpoolWriter Spool { get; }
    public FreeSpace FreeSpace { get; }

    /// <summary>Makes good what an earlier run left, and brings the table up to the spool. Throws <see cref="StateException"/>.</summary>
    public static async Task<MailQueue> OpenAsync(StateDirectory directory, Func<Admission> admission, MailLog log, TimeProvider time)
    {
        var store = new QueueStore(directory, () => admission().Routes, log, time);
        (SpoolPosition mark, long highest) = await store.TakeOverAsync(SpoolOwner.Server);
        return new MailQueue(directory, store, admission().Settings.RunDirectory, log, time, mark, highest);
    }

    public void Dispose()
    {
        Spool.Dispose();
        _timer.Dispose();
        Index();
        Store.Dispose();
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
        _wake.Wake();
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
        SpoolPosition from;
        lock (_gate)
        {
            if (_unindexed.Count == 0)
                return;
            (records, _unindexed) = (_unindexed, new(_unindexed.Count));
            (from, _end) = (_end, records[^1].End);
        }
        _ = IndexAsync(records, from);
    }

    private async Task IndexAsync(List<SpooledRecord> records, SpoolPosition from)
    {
        if (await Store.IndexAsync(SpoolOwner.Server, from, records[^1].End, records) > 0)
            _wake.Wake();
    }
}
