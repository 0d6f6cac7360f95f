using LiteDB;

namespace Mfrelay.Core;

/// <summary>
/// mfrelay.db as this process sees it. All work goes through one thread (a LiteDB transaction belongs to a thread), which takes the
/// lease, opens the engine, does what has gathered in one transaction, and lets go as soon as nothing waits or another process wants in.
/// LiteDB's Commit returns before the pages are written, and a power cut may damage the file: neither matters, because the spool and the
/// done journal are the truth. A database that is missing or broken is moved aside and made again from them.
/// </summary>
public sealed class QueueStore : IDisposable
{
    private static readonly TimeSpan FullDiskPause = TimeSpan.FromSeconds(1);

    private readonly StateDirectory _directory;
    private readonly Func<RouteTable> _routes;
    private readonly MailLog _log;
    private readonly TimeProvider _time;
    private readonly Lease _lease;
    private readonly Thread _thread;
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _news = new(0);
    private List<Work> _waiting = [];
    private bool _stopping;

    /// <param name="routes">Asked when the table is made again: recipients are then routed anew.</param>
    public QueueStore(StateDirectory directory, Func<RouteTable> routes, MailLog log, TimeProvider time)
    {
        (_directory, _routes, _log, _time) = (directory, routes, log, time);
        _lease = new Lease(directory.Root);
        _thread = new Thread(Run) { Name = "store", IsBackground = true };
        _thread.Start();
    }

    /// <summary>
    /// Runs work on the table, in a transaction with whatever else waits. It may run twice (after a rebuild), so it changes nothing but
    /// the table; what it returns is given out after the commit.
    /// </summary>
    public Task<T> RunAsync<T>(Func<QueueTable, T> work)
    {
        var item = new Work<T>(work);
        bool first;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_stopping, this);
            first = _waiting.Count == 0;
            _waiting.Add(item);
        }
        if (first)
            _news.Release();
        return item.Task;
    }

    /// <summary>Does what waits, then closes.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_stopping)
                return;
            _stopping = true;
        }
        _news.Release();
        _thread.Join();
        _lease.Dispose();
        _news.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            _news.Wait();
            List<Work> batch = TakeBatch(out bool stopping);
            if (batch.Count > 0)
                TakeTurn(batch);
            if (stopping)
                return;
        }
    }

    private List<Work> TakeBatch(out bool stopping)
    {
        lock (_gate)
        {
            List<Work> batch = _waiting;
            _waiting = [];
            stopping = _stopping;
            return batch;
        }
    }

    /// <summary>One turn of the lease: this batch, and what arrives meanwhile unless somebody else waits.</summary>
    private void TakeTurn(List<Work> batch)
    {
        bool rebuilt = false;
        while (batch.Count > 0)
        {
            _lease.Enter();
            try
            {
                using LiteDatabase database = Open();
                EnsureIndexed(database);
                do
                {
                    Execute(database, batch);
                    foreach (Work done in batch)
                        done.Succeed();
                    batch = TakeBatch(out _);
                }
                while (batch.Count > 0 && !_lease.Wanted());
            }
            catch (IOException e) when (SpoolWriter.ResultOf(e) == SpoolResult.Full)
            {
                // The spool has every message; the table catches up when there is room again.
                _log.StoreHasNoRoom(_directory.Database, e.Message);
            }
            catch (Exception e) when (e is not StateException && !rebuilt)
            {
                rebuilt = true;
                MoveAside(e);
            }
            catch (Exception e)
            {
                foreach (Work failed in batch)
                    failed.Fail(e);
                batch = [];
            }
            finally
            {
                _lease.Leave();
            }
            if (batch.Count > 0 && !rebuilt)
#pragma warning disable VSTHRD002 // a thread of our own, which has nothing else to do
                Task.Delay(FullDiskPause, _time).Wait();
#pragma warning restore VSTHRD002
        }
    }

    private LiteDatabase Open() => new(new ConnectionString { Filename = _directory.Database, Connection = ConnectionType.Direct });

    private void Execute(LiteDatabase database, List<Work> batch)
    {
        database.BeginTrans();
        var table = new QueueTable(database, NewGeneration());
        foreach (Work work in batch)
            work.Run(table);
        table.SaveMeta();
        database.Commit();
    }

    /// <summary>Lets a work item bring the table up to the spool, within its own transaction.</summary>
    public void CatchUp(SpoolOwner owner, QueueTable table)
    {
        int count = new SpoolIndexer(_directory.Spool, owner, _routes(), _log).CatchUp(act => act(table));
        if (count > 0)
            _log.TableCaughtUp(_directory.Database, count);
    }

    /// <summary>A database without a table, whatever the reason, is filled from the spool before anybody reads it.</summary>
    private void EnsureIndexed(LiteDatabase database)
    {
        if (new QueueTable(database, 0).IsFilled)
            return;
        int count = 0;
        foreach (SpoolOwner owner in Enum.GetValues<SpoolOwner>())
            count += new SpoolIndexer(_directory.Spool, owner, _routes(), _log).CatchUp(act => InTransaction(database, act));
        if (count > 0)
            _log.TableRebuilt(_directory.Database, count);
        InTransaction(database, table => table.SetFilled());
    }

    private void InTransaction(LiteDatabase database, Action<QueueTable> act)
    {
        database.BeginTrans();
        var table = new QueueTable(database, NewGeneration());
        act(table);
        table.SaveMeta();
        database.Commit();
    }

    private long NewGeneration() => _time.GetUtcNow().Ticks;

    private void MoveAside(Exception reason)
    {
        string suffix = $".broken-{_time.GetUtcNow():yyyyMMddTHHmmssfff}";
        foreach (string file in new[] { _directory.Database, Path.Combine(_directory.Root, "mfrelay-log.db") })
        {
            if (File.Exists(file))
                File.Move(file, file + suffix);
        }
        _log.DatabaseBroken(_directory.Database, _directory.Database + suffix, reason.Message);
    }

    private abstract class Work
    {
        public abstract void Run(QueueTable table);
        public abstract void Succeed();
        public abstract void Fail(Exception e);
    }

    private sealed class Work<T>(Func<QueueTable, T> work) : Work
    {
        private readonly TaskCompletionSource<T> _source = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private T? _result;

#pragma warning disable VSTHRD003 // the task is this item's own
        public Task<T> Task => _source.Task;
#pragma warning restore VSTHRD003
        public override void Run(QueueTable table) => _result = work(table);
        public override void Succeed() => _source.TrySetResult(_result!);
        public override void Fail(Exception e) => _source.TrySetException(e);
    }
}
