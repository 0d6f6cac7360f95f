using LiteDB;
using LiteDB.Engine;

namespace Mfrelay.Core;

/// <summary>
/// mfrelay.db as this process sees it. All work goes through one thread (a LiteDB transaction belongs to a thread), which takes the
/// lease, opens the engine, does what has gathered in one transaction, and lets go as soon as nothing waits or another process wants in.
/// Nothing of it is synced, and a power cut may damage the file: that does not matter, because the spool and the done journal are the
/// truth. A database that is missing, broken or an older copy is moved aside and made again from them.
/// </summary>
public sealed class QueueStore : IDisposable
{
    private static readonly TimeSpan FullDiskPause = TimeSpan.FromSeconds(1);

    /// <summary>How long a change that nobody waits for can wait for others.</summary>
    private static readonly TimeSpan Linger = TimeSpan.FromMilliseconds(100);

    /// <summary>The last of the room is for the done journal, and for LiteDB to copy its log to the file.</summary>
    private const long RoomToChange = 8 * 1024 * 1024;

    private readonly StateDirectory _directory;
    private readonly Func<RouteTable> _routes;
    private readonly MailLog _log;
    private readonly TimeProvider _time;
    private readonly Lease _lease;
    private readonly DoneTail _done;
    private readonly Thread _thread;
    private readonly Intake<Work> _intake = new();
    private readonly ITimer _soon;
    private readonly List<Stream> _open = [];
    private bool _full;

    /// <summary>False in the turn after one whose pages could not be written, though there seemed to be room (a quota).</summary>
    private bool _mayChange;

    /// <summary>Rows that the transaction in progress has taken from the spool.</summary>
    private int _caughtUp;

    /// <summary>As this process left the table with its last turn.</summary>
    private DatabaseState _lastState;
    private bool _othersChanged = true;

    /// <param name="routes">Asked when the table is made again: recipients are then routed anew.</param>
    public QueueStore(StateDirectory directory, Func<RouteTable> routes, MailLog log, TimeProvider time)
    {
        _done = new DoneTail(directory.Spool);
        (_directory, _routes, _log, _time) = (directory, routes, log, time);
        _lease = new Lease(directory.Root);
        _soon = time.CreateTimer(static intake => ((Intake<Work>)intake!).Wake(), _intake, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _thread = new Thread(Run) { Name = "store", IsBackground = true };
        _thread.Start();
    }

    /// <summary>
    /// Runs work on the table, in a transaction with whatever else waits. It may run twice (after a rebuild), so it changes nothing but
    /// the table; what it returns is given out after the commit. An exception of its own undoes and faults this work alone.
    /// </summary>
    public Task<T> RunAsync<T>(Func<QueueTable, T> work)
    {
        var item = new Work<T>(work);
        _intake.Add(item);
        return item.Task;
    }

    /// <summary>As the other, for a change with nothing to return.</summary>
    public Task RunAsync(Action<QueueTable> work) => RunAsync(table =>
    {
        work(table);
        return true;
    });

    /// <summary>
    /// As the others, and in order with them, for a change that nobody waits for: it is written with the next work of any other kind, or a moment later.
    /// The more of them share a transaction, the less each costs.
    /// </summary>
    public Task<bool> RunSoonAsync(Func<QueueTable, bool> change)
    {
        var item = new Work<bool>(change);
        if (_intake.AddQuietly(item))
            _soon.Change(Linger, Timeout.InfiniteTimeSpan);
        return item.Task;
    }

    /// <summary>
    /// Whether another process has changed the table since this was last asked: a look at 16 octets, without a turn. True when in doubt.
    /// </summary>
    public bool HaveOthersChanged()
    {
        // In this order: a turn of our own in between sees the change and says so.
        bool changed = _lease.ReadState() != _lastState;
        return changed | Interlocked.Exchange(ref _othersChanged, false);
    }

    /// <summary>Does what waits, then closes.</summary>
    public void Dispose()
    {
        if (!_intake.Stop())
            return;
        _thread.Join();
        _soon.Dispose();
        _lease.Dispose();
    }

    private void Run()
    {
        for (bool stopping = false; !stopping;)
        {
            _intake.Wait();
            TakeTurns(_intake.Take([], out stopping));
        }
    }

    /// <summary>
    /// Turns of the lease until this batch, and what arrives meanwhile, is done. Without room on the disk, changes wait and reading goes on:
    /// deliveries are what makes room.
    /// </summary>
    private void TakeTurns(List<Work> batch)
    {
        bool madeAgain = false;
        _mayChange = true;
        while (batch.Count > 0)
        {
            List<Work> parked = [];
            bool wait = false;
            _lease.Enter();
            try
            {
                UseDatabase(ref batch, parked, ref madeAgain);
            }
            catch (Exception e) when (SpoolWriter.Passes(e) && !_intake.IsStopping)
            {
                // The spool has every message; the table catches up when there is room again. A change was refused that should have had room:
                // who only reads gets a turn at once.
                if (!_full)
                    _log.StoreHasNoRoom(_directory.Database, e.Message);
                (wait, _mayChange, _full) = (!_mayChange, false, true);
                batch = [.. parked, .. batch];
                parked.Clear();
            }
            catch (BrokenTableException e) when (!madeAgain && TryMoveAside(e))
            {
                madeAgain = true;
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
            if (wait || parked.Count > 0)
            {
#pragma warning disable VSTHRD002 // a thread of our own, which has nothing else to do
                Task.Delay(FullDiskPause, _time).Wait();
#pragma warning restore VSTHRD002
                batch = [.. parked, .. batch, .. _intake.Take([], out _)];
                _mayChange = true;
            }
        }
    }

    /// <summary>One turn: <paramref name="batch"/> and what follows until nothing waits here or somebody else wants in; then it is what is left.</summary>
    private void UseDatabase(ref List<Work> batch, List<Work> parked, ref bool madeAgain)
    {
        DatabaseState before = _lease.ReadState();
        if (before != _lastState)
            _othersChanged = true;
        DatabaseState state;
        LiteDatabase? database = null;
        try
        {
            database = FromLiteDb(Open);
            var table = new QueueTable(database, long.MaxValue);
            state = table.State;
            if (state.IsOlderThan(before))
                throw new BrokenTableException("an older copy was put in its place");
            if (!table.IsFilled)
                state = Fill(database, before.Generation) ?? state;
            do
            {
                state = Execute(database, batch, parked) ?? state;
                madeAgain = false;
                _full = parked.Count > 0;
                foreach (Work done in batch)
                    done.Succeed();
                batch = parked.Count > 0 ? [] : _intake.TakeIfHurried();
            }
            while (batch.Count > 0 && !_lease.Wanted());
        }
        finally
        {
            Close(database);
        }
        if (state != before)
            _lease.WriteState(state);
        _lastState = state;
    }

    private LiteDatabase Open()
    {
        // LiteDB would lay the log of a lost database over a new one.
        if (!File.Exists(_directory.Database) && new FileInfo(LogFile) is { Exists: true, Length: > 0 })
            File.Move(LogFile, FreeName(LogFile));
        CheckedPages data = OpenFile(_directory.Database, isLog: false);
        // LiteDB takes a file without a whole page for a new one and overwrites it.
        if (data.Length is > 0 and < CheckedPages.PageSize)
            throw new BrokenTableException($"it has {data.Length} octets");
        return new LiteDatabase(new LiteEngine(new EngineSettings { DataStream = data, LogStream = OpenFile(LogFile, isLog: true) }));
    }

    private CheckedPages OpenFile(string path, bool isLog)
    {
        var stream = new CheckedPages(path, Path.Combine(_directory.Root, "mfrelay.sum"), isLog);
        _open.Add(stream);
        return stream;
    }

    private string LogFile => Path.Combine(_directory.Root, "mfrelay-log.db");

    private void Close(LiteDatabase? database)
    {
        try
        {
            database?.Dispose();
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // What it did not write any more, the next turn misses and makes again.
        }
        foreach (Stream stream in _open)
            stream.Dispose();
        _open.Clear();
    }

    /// <summary>Runs the batch in one transaction, without those that fail for a reason of their own. The new state, if anything changed.</summary>
    private DatabaseState? Execute(LiteDatabase database, List<Work> batch, List<Work> parked)
    {
        while (batch.Count > 0)
        {
            int failed = 0;
            try
            {
                return InTransaction(database, 0, table =>
                {
                    for (failed = 0; failed < batch.Count; failed++)
                    {
                        try
                        {
                            batch[failed].Run(table);
                        }
                        catch (NoRoomException e) when (!_intake.IsStopping)
                        {
                            // Thrown before the first change of the transaction: it has nothing to undo.
                            Park(batch, failed--, parked, e);
                        }
                    }
                });
            }
            catch (Exception e) when (failed < batch.Count && BrokenTableException.IsBroken(e))
            {
                batch[failed].Fail(e);
                batch.RemoveAt(failed);
            }
        }
        return null;
    }

    private void Park(List<Work> batch, int index, List<Work> parked, NoRoomException reason)
    {
        parked.Add(batch[index]);
        batch.RemoveAt(index);
        if (!_full)
            _log.StoreHasNoRoom(_directory.Database, reason.Message);
        _full = true;
    }

    /// <summary>
    /// What a process does with its own part of the spool before it writes to it: makes good what an earlier run left, and brings the table up
    /// to it.
    /// </summary>
    /// <returns>How far the table is, and the highest id in use.</returns>
    public async Task<(SpoolPosition Mark, long Highest)> TakeOverAsync(SpoolOwner owner)
    {
        long highest = SpoolIndexer.SealLeftovers(_directory.Spool, owner, _log);
        SpoolPosition mark = await RunAsync(table =>
        {
            CatchUp(owner, table);
            return table.Mark(owner);
        });
        return (mark, Math.Max(highest, mark.Segment));
    }

    /// <summary>
    /// Adds rows for messages that have become durable: those that lie between two marks, without what the done journal calls settled by now.
    /// A failure is logged: the mail is in the spool, and the next start indexes it.
    /// </summary>
    /// <returns>How many rows.</returns>
    public async Task<int> IndexAsync(SpoolOwner owner, SpoolPosition from, SpoolPosition to, IReadOnlyList<SpooledRecord> records)
    {
        try
        {
            return await RunAsync(table =>
            {
                List<Delivery> open = Open(records);
                table.InsertUpTo(owner, from, to, open, t => CatchUp(owner, t));
                return open.Count;
            });
        }
        catch (Exception e)
        {
            _log.Unexpected("queue table", e);
            return 0;
        }
    }

    private List<Delivery> Open(IReadOnlyList<SpooledRecord> records)
    {
        RouteTable routes = _routes();
        List<Delivery> open = [];
        foreach (IGrouping<long, SpooledRecord> segment in records.GroupBy(record => record.Position.Segment))
        {
            SettledSet settled = _done.Of(segment.Key, segment.First().Position.Offset);
            open.AddRange(segment.SelectMany(record => routes.Split(record.Envelope, record.Position, record.Size)).Select(settled.Without).OfType<Delivery>());
        }
        return open;
    }

    /// <summary>Lets a work item bring the table up to the spool, within its own transaction.</summary>
    public void CatchUp(SpoolOwner owner, QueueTable table)
    {
        _caughtUp += new SpoolIndexer(_directory.Spool, owner, _routes(), _log).CatchUp(act => act(table));
    }

    /// <summary>A database without a table, whatever the reason, is filled from the spool before anybody reads it.</summary>
    private DatabaseState? Fill(LiteDatabase database, long lastGeneration)
    {
        long generation = Math.Max(_time.GetUtcNow().Ticks, lastGeneration + 1);
        int count = 0;
        foreach (SpoolOwner owner in Enum.GetValues<SpoolOwner>())
            count += new SpoolIndexer(_directory.Spool, owner, _routes(), _log).CatchUp(act => InTransaction(database, generation, act));
        if (count > 0)
            _log.TableRebuilt(_directory.Database, count);
        return InTransaction(database, generation, table => table.SetFilled());
    }

    private DatabaseState? InTransaction(LiteDatabase database, long newGeneration, Action<QueueTable> act)
    {
        FromLiteDb(database.BeginTrans);
        try
        {
            var table = new QueueTable(database, newGeneration, EnsureRoom);
            DatabaseState before = table.State;
            _caughtUp = 0;
            act(table);
            table.SaveMeta();
            FromLiteDb(database.Commit);
            if (_caughtUp > 0)
                _log.TableCaughtUp(_directory.Database, _caughtUp);
            return table.State == before ? null : table.State;
        }
        catch (Exception e) when (BrokenTableException.IsBroken(e))
        {
            // The work's own fault. After any other, the engine is closed and forgets what was not committed.
            FromLiteDb(database.Rollback);
            throw;
        }
    }

    private void EnsureRoom()
    {
        if (!_mayChange)
            throw new NoRoomException("a page could not be written");
        if (_directory.Room() < RoomToChange) // not when it cannot be told: then the write will tell
            throw new NoRoomException($"less than {RoomToChange >> 20} MiB are free");
    }

    private static T FromLiteDb<T>(Func<T> act)
    {
        try
        {
            return act();
        }
        catch (Exception e) when (BrokenTableException.IsBroken(e))
        {
            throw new BrokenTableException(e);
        }
    }

    private bool TryMoveAside(BrokenTableException reason)
    {
        string aside = FreeName(_directory.Database);
        try
        {
            if (new FileInfo(LogFile) is { Exists: true, Length: > 0 })
                File.Move(LogFile, FreeName(LogFile));
            if (Directory.Exists(_directory.Database))
                Directory.Move(_directory.Database, aside);
            else if (File.Exists(_directory.Database))
                File.Move(_directory.Database, aside);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _log.Unexpected(_directory.Database, e);
            return false;
        }
        _log.DatabaseBroken(_directory.Database, aside, reason.Message);
        return true;
    }

    private string FreeName(string file)
    {
        string name = $"{file}.broken-{_time.GetUtcNow():yyyyMMddTHHmmssfff}";
        string free = name;
        for (int i = 2; Path.Exists(free); i++)
            free = $"{name}-{i}";
        return free;
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
