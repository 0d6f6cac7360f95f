using System.Threading.Channels;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Takes deliveries from the queue table, has each tried when it is due, and writes down what came of it. The schedule is in memory:
/// new rows are read when the server taps or at the latest after the poll interval, deferred ones wait in a heap by their time.
/// </summary>
internal sealed partial class QueueRunner : IAsyncDisposable
{
    private const int RowsPerRead = 1000;

    /// <summary>How long a tap that got lost can delay new mail.</summary>
    private static readonly TimeSpan PollInterval = TimeSpan.FromSeconds(1);

    private readonly StateDirectory _directory;
    private readonly QueueStore _store;
    private readonly SpoolKeeper _keeper;
    private readonly WakeSocket _wake;
    private readonly CancellationTokenSource _stopping = new();
    private readonly CancellationTokenSource _aborting = new();
    private readonly Channel<bool> _news = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly ITimer _alarm;

    private readonly Lock _gate = new();
    private readonly Rotation _rotation = new();
    private readonly CheckListKeeper _checkList;
    private readonly Dictionary<string, MailServerQueue> _servers = new(StringComparer.OrdinalIgnoreCase);
    private readonly PriorityQueue<Delivery, DateTimeOffset> _later = new();

    /// <summary>Every delivery that is in memory, with the row that it has now.</summary>
    private readonly Dictionary<(SpoolPosition, int), Row> _known = [];

    private RouteTable _routes;
    private long _generation;
    private long _lastKey;
    private (DateTime, long) _databaseSeen;
    private volatile bool _tapped;

    public QueueRunner(Settings settings, StateDirectory directory, MailLog log, TimeProvider time)
    {
        (Settings, _directory, Log, Time) = (settings, directory, log, time);
        _routes = new RouteTable(settings.MailServers);
        _store = new QueueStore(directory, () => _routes, log, time);
        Reader = new SpoolReader(directory.Spool);
        _keeper = new SpoolKeeper(directory.Spool, Reader, new DoneJournal(directory.Spool));
        _wake = new WakeSocket(settings.RunDirectory, WakeSocket.ClientName);
        _checkList = new CheckListKeeper(this, _store, CheckAsync);
        _alarm = time.CreateTimer(static news => ((Channel<bool>)news!).Writer.TryWrite(true), _news, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public Settings Settings { get; private set; }
    public MailLog Log { get; }
    public TimeProvider Time { get; }
    public SpoolReader Reader { get; }

    /// <summary>No new attempt begins.</summary>
    public CancellationToken Stopping => _stopping.Token;

    /// <summary>Attempts that still run are cut off.</summary>
    public CancellationToken Aborting => _aborting.Token;

    /// <summary>Runs until cancelled; then lets running attempts end, within the limit.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        await _checkList.LoadAsync(Settings);
        await ReadNewAsync();
        Task listening = ListenAsync(_stopping.Token);
        Task keeping = KeepAsync(_stopping.Token);
        Task reading = Task.CompletedTask;
        while (!cancel.IsCancellationRequested)
        {
            TimeSpan wait = ReleaseDue();
            await WaitAsync(wait, cancel);
            if (reading.IsCompleted)
            {
                await reading;
                if (!cancel.IsCancellationRequested && HasChanged())
                    reading = ReadNewAsync();
            }
            // A table that waits for room on the disk must not hold up what is due, nor the end.
            if (!reading.IsCompleted)
                await Task.WhenAny(reading, Task.Delay(PollInterval, Time, cancel));
        }
        await _stopping.CancelAsync();
        Task idle = Task.WhenAll(_servers.Values.Select(server => server.WhenIdleAsync()).Append(_checkList.WhenIdleAsync()));
        if (await Task.WhenAny(idle, Task.Delay(Settings.Client.ShutdownTimeout, Time, CancellationToken.None)) != idle)
            await _aborting.CancelAsync();
        await Task.WhenAll(idle, listening, keeping);
    }

    public ValueTask DisposeAsync()
    {
        _alarm.Dispose();
        _store.Dispose();
        _keeper.Dispose();
        Reader.Dispose();
        _wake.Dispose();
        _stopping.Dispose();
        _aborting.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>Passes taps on; the channel holds one, because more say nothing new.</summary>
    private async Task ListenAsync(CancellationToken cancel)
    {
        try
        {
            while (true)
            {
                await _wake.WaitAsync(cancel);
                _tapped = true;
                _news.Writer.TryWrite(true);
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    /// <summary>Makes the done journal durable, and removes what is settled, off the path of deliveries.</summary>
    private async Task KeepAsync(CancellationToken cancel)
    {
        using var timer = new PeriodicTimer(PollInterval, Time);
        try
        {
            for (string last = ""; await timer.WaitForNextTickAsync(cancel);)
                last = Keep(last);
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    /// <summary>A failure is logged unless it is the last one again, and ends nothing: the next tick may find more room.</summary>
    private string Keep(string lastFailure)
    {
        try
        {
            _keeper.Sync();
            _keeper.RemoveSettledSegments();
            return "";
        }
        catch (Exception e)
        {
            if (!string.Equals(e.Message, lastFailure, StringComparison.Ordinal))
                Log.Unexpected("queue directory", e);
            return e.Message;
        }
    }

    private async Task WaitAsync(TimeSpan wait, CancellationToken cancel)
    {
        try
        {
            // A timer that writes into the channel: a wait that is cancelled every second would throw an exception every second.
            _alarm.Change(wait < PollInterval ? wait : PollInterval, Timeout.InfiniteTimeSpan);
            await _news.Reader.WaitToReadAsync(cancel);
            _news.Reader.TryRead(out _);
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
        if (_tapped)
            _databaseSeen = default;
        _tapped = false;
    }

    /// <summary>Whether the database may hold something new: a look at the file instead of opening it every second.</summary>
    private bool HasChanged()
    {
        var file = new FileInfo(_directory.Database);
        (DateTime, long) now = file.Exists ? (file.LastWriteTimeUtc, file.Length) : (DateTime.MinValue, 0);
        bool changed = _databaseSeen != now;
        _databaseSeen = now;
        return changed;
    }

    private async Task ReadNewAsync()
    {
        while (true)
        {
            long after = _lastKey;
            long generation = _generation;
            (long Generation, IReadOnlyList<Delivery> Rows) read =
                await _store.RunAsync(table => (table.Generation, table.ReadAfter(table.Generation == generation ? after : 0, RowsPerRead)));
            if (read.Generation != generation)
            {
                _generation = read.Generation;
                _lastKey = 0;
            }
            foreach (Delivery row in read.Rows)
            {
                _lastKey = row.Key;
                Take(row);
            }
            if (read.Rows.Count < RowsPerRead)
                return;
        }
    }

    /// <summary>
    /// What stays the same when the table is made again: the deliveries of a message share its recipients out among themselves, so the
    /// first of them tells which one it is.
    /// </summary>
    private static (SpoolPosition, int) Identity(Delivery delivery) => (delivery.Position, delivery.Recipients[0].Ordinal);

    private void Take(Delivery row)
    {
        if (_keeper.StillOpen(row) is not { } open)
        {
            Forget(new Row(row.Key, _generation));
            return;
        }
        if (Moved(open))
            return;
        lock (_gate)
        {
            // After a rebuild of the table the same delivery comes under another key.
            bool isNew = !_known.ContainsKey(Identity(open));
            _known[Identity(open)] = new Row(row.Key, _generation);
            if (!isNew)
                return;
            if (open.Hold)
                return;
            if (open.NextAttempt > Time.GetUtcNow())
                _later.Enqueue(open, open.NextAttempt);
            else
                Dispatch(open);
        }
    }

    /// <summary>A key means something in its generation of the table only.</summary>
    private readonly record struct Row(long Key, long Generation);

    /// <summary>Hands out what is due; returns how long until the next is.</summary>
    private TimeSpan ReleaseDue()
    {
        lock (_gate)
        {
            DateTimeOffset now = Time.GetUtcNow();
            while (_later.TryPeek(out Delivery? delivery, out DateTimeOffset due))
            {
                if (due > now)
                    return due - now;
                _later.Dequeue();
                Dispatch(delivery);
            }
            return PollInterval;
        }
    }

    /// <summary>
    /// Gives a delivery that is due to a mail server of its route: the one whose turn it is (C9). One that is on the check list is sent
    /// nothing (C4): the delivery waits for its next time, or takes the next mail server with failover = "next".
    /// </summary>
    private void Dispatch(Delivery delivery)
    {
        if (_routes.Named(delivery.Route) is not { } route)
        {
            if (Moved(delivery))
                return;
            Log.NoRoute(delivery);
            _later.Enqueue(delivery, Time.GetUtcNow() + RetrySchedule.WaitAfter(int.MaxValue, Settings.Client.Retry));
            return;
        }
        if (_rotation.Choose(route, Settings.Client.Failover, _checkList.IsListed) is { } server)
            QueueOf(server).Add(delivery);
        else
            Wait(delivery);
    }

    /// <summary>Not tried, because its mail server is on the check list: waits as long as after a failed attempt, and none is counted.</summary>
    private void Wait(Delivery delivery) =>
        _later.Enqueue(delivery, Time.GetUtcNow() + RetrySchedule.WaitAfter(Math.Max(delivery.Attempts, 1), Settings.Client.Retry));

    private MailServerQueue QueueOf(MailServer server)
    {
        string key = server.Key;
        if (!_servers.TryGetValue(key, out MailServerQueue? queue))
            _servers[key] = queue = new MailServerQueue(server, this);
        return queue;
    }
}
