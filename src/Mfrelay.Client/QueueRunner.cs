using System.Diagnostics.Metrics;
using System.Threading.Channels;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Takes deliveries from the queue table, has each tried when it is due, and writes down what came of it. The schedule is in memory: new
/// rows are read when the server taps or at the latest after the poll interval, those that wait are 32 octets each until they are due.
/// </summary>
internal sealed partial class QueueRunner : IAsyncDisposable
{
    private const int RowsPerRead = 1000;

    /// <summary>How long a tap that got lost can delay new mail.</summary>
    private static readonly TimeSpan PollInterval = TimeSpan.FromSeconds(1);

    private readonly SpoolKeeper _keeper;
    private readonly Postmaster _postmaster;
    private readonly WakeSocket _wake;
    private readonly CancellationTokenSource _stopping = new();
    private readonly CancellationTokenSource _aborting = new();
    private readonly Channel<bool> _news = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly ITimer _alarm;
    private readonly Random _chance = Random.Shared;

    private readonly Lock _gate = new();
    private readonly Rotation _rotation = new();
    private readonly CheckListKeeper _checkList;
    private readonly Dictionary<string, MailServerQueue> _servers = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>Of the config before a reload: attempts that ran then, and still do.</summary>
    private readonly List<MailServerQueue> _retired = [];
    private readonly Schedule _schedule = new();
    private readonly SpoolTail _tail;
    private readonly WallClock _clock;

    /// <summary>Tried before there was a row, and to be tried again if there is none by then.</summary>
    private readonly PriorityQueue<Delivery, DateTimeOffset> _rowless = new();

    /// <summary>What mail servers and the postmaster have in hand, by each of its recipients.</summary>
    private readonly Dictionary<(SpoolPosition, int Ordinal), InHand> _active = [];

    private RouteTable _routes;

    /// <summary>Made for the first delivery by MX.</summary>
    private MxResolver? _mx;

    private bool _hasNewSummary = true;
    private volatile QueueSummary? _summary;
    private readonly Pulse _pulse;

    public QueueRunner(Settings settings, StateDirectory directory, MailLog log, TimeProvider time)
    {
        (Settings, Log, Time, _pulse) = (settings, log, time, new Pulse(time));
        _routes = new RouteTable(settings.MailServers);
        Store = new QueueStore(directory, () => _routes, log, time);
        Reader = new SpoolReader(directory.Spool);
        _keeper = new SpoolKeeper(directory.Spool, Reader, new DoneJournal(directory.Spool));
        _postmaster = new Postmaster(directory, Store, () => Settings, log, time, HasNews);
        _tail = new SpoolTail(directory.Spool);
        _clock = new WallClock(time);
        _wake = WakeSocket.Of(settings.RunDirectory, WakeSocket.ClientName);
        _checkList = new CheckListKeeper(this, Store, CheckAsync);
        _alarm = time.CreateTimer(static news => ((Channel<bool>)news!).Writer.TryWrite(true), _news, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public Settings Settings { get; private set; }
    public ClientFigures Figures { get; } = new();
    public RouteTable Routes => _routes;
    public MailLog Log { get; }
    public TimeProvider Time { get; }
    public SpoolReader Reader { get; }
    public QueueStore Store { get; }

    /// <summary>No new attempt begins.</summary>
    public CancellationToken Stopping => _stopping.Token;

    /// <summary>Attempts that still run are cut off.</summary>
    public CancellationToken Aborting => _aborting.Token;

    /// <summary>The loop that hands out mail turns.</summary>
    public bool IsAlive => _pulse.IsFelt;

    /// <summary>The queue and the mail servers that are sent nothing, for the line of status.</summary>
    public (QueueSummary? Queue, IReadOnlyList<string> Listed) Overview() => (_summary, _checkList.Listed());

    public (bool IsDown, bool IsDrained) StateOf(MailServer server) => _checkList.StateOf(server);

    /// <summary>Sessions with a mail server; with MX records, those with all that they name.</summary>
    public double SessionsWith(MailServer server)
    {
        lock (_gate)
        {
            return Queues.Where(queue => string.Equals(queue.Server.Key, server.Key, StringComparison.Ordinal)
                || (server.IsMx && queue.Server.IsMx && string.Equals(_routes.EntryOf(queue.Server.Domain), server.Domain, StringComparison.OrdinalIgnoreCase)))
                .Sum(queue => queue.Sessions);
        }
    }

    public int Sessions
    {
        get
        {
            lock (_gate)
                return Queues.Sum(queue => queue.Sessions);
        }
    }

    private IEnumerable<MailServerQueue> Queues => _servers.Values.Concat(_retired);

    public void MeasureSyncs(Histogram<double> time) => _postmaster.SyncTime = time;

    /// <summary>Reads what an earlier run left; the service is ready after this.</summary>
    public async Task OpenAsync()
    {
        await _checkList.LoadAsync();
        await _postmaster.OpenAsync();
    }

    /// <summary>After <see cref="OpenAsync()"/>: runs until cancelled; then lets running attempts end, within the limit.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        Task desk = WorkAtDeskAsync(_stopping.Token);
        await ReadNewAsync();
        Task listening = ListenAsync(_stopping.Token);
        Task keeping = KeepAsync(_stopping.Token);
        Task reading = Task.CompletedTask;
        while (!cancel.IsCancellationRequested)
        {
            _pulse.Beat();
            ReadTail();
            TimeSpan wait = ReleaseDue();
            ReadDue();
            await WaitAsync(wait, cancel);
            if (reading.IsCompleted)
            {
                await reading;
                if (!cancel.IsCancellationRequested && Store.HaveOthersChanged() | _mustRead)
                    reading = ReadNewAsync();
            }
            // A table that waits for room on the disk must not hold up what is due, nor the end.
            if (!reading.IsCompleted)
                await Task.WhenAny(reading, Task.Delay(PollInterval, Time, cancel));
        }
        await _stopping.CancelAsync();
        Task idle;
        lock (_gate)
            idle = Task.WhenAll(Queues.Select(server => server.WhenIdleAsync()).Append(_checkList.WhenIdleAsync()));
        if (await Task.WhenAny(idle, Task.Delay(Settings.Client.ShutdownTimeout, Time, CancellationToken.None)) != idle)
            await _aborting.CancelAsync();
        await Task.WhenAll(idle, listening, keeping, desk);
    }

    public async ValueTask DisposeAsync()
    {
        await _alarm.DisposeAsync();
        _postmaster.Dispose();
        Store.Dispose();
        _keeper.Dispose();
        Reader.Dispose();
        _tail.Dispose();
        _wake.Dispose();
        _stopping.Dispose();
        _aborting.Dispose();
    }

    /// <summary>A mail server can take more of what is due.</summary>
    public void HasRoom() => _news.Writer.TryWrite(true);

    /// <summary>There are new rows, by this process.</summary>
    private void HasNews()
    {
        _mustRead = true;
        _news.Writer.TryWrite(true);
    }

    /// <summary>Passes taps on; the channel holds one, because more say nothing new.</summary>
    private async Task ListenAsync(CancellationToken cancel)
    {
        try
        {
            while (true)
            {
                await _wake.WaitAsync(cancel);
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
            int ticks = 0;
            Task summary = Task.CompletedTask, indexing = Task.CompletedTask;
            for (string last = ""; await timer.WaitForNextTickAsync(cancel);)
            {
                last = Keep(last);
                _checkList.EndDrains();
                ForgetIdle();
                if (++ticks % SecondsPerSummary == 0 && summary.IsCompleted)
                    summary = SummarizeAsync();
                if (IsServerLate() && indexing.IsCompleted)
                    indexing = IndexForServerAsync();
            }
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

    private const int SecondsPerSummary = 2;

    /// <summary>mf-smtp-server takes half a second.</summary>
    private const int SecondsToIndex = 3;

    /// <summary>Writes down what there is, for those who ask; only after something changed.</summary>
    private async Task SummarizeAsync()
    {
        QueueSummary summary;
        lock (_gate)
        {
            if (!_hasNewSummary || !_loading.IsCompleted)
                return;
            _hasNewSummary = false;
            _summary = summary = new QueueSummary(Time.GetUtcNow(), _lastKey, _schedule.Summarize(_active.Values.Distinct().Select(hand => hand.Delivery)));
        }
        try
        {
            await Store.RunAsync(table => table.PutSummary(summary));
        }
        catch (Exception e)
        {
            // At the end the table is closed under it.
            if (!Stopping.IsCancellationRequested)
                Log.Unexpected("queue table", e);
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
    }

    /// <summary>Hands out what is due; returns how long until the next is.</summary>
    private TimeSpan ReleaseDue()
    {
        lock (_gate)
        {
            FollowClock();
            DateTimeOffset now = Time.GetUtcNow();
            RetryRowless(now);
            while (_schedule.TryTakeDue(now, out Waiting waiting))
            {
                if (MustBeRead(waiting, now))
                    _schedule.Due(waiting);
                else
                    WaitOn(waiting, now);
            }
            return _schedule.WaitUntilNext(now);
        }
    }

    /// <summary>The clock has jumped: what waits goes on waiting as long as it would have.</summary>
    private void FollowClock()
    {
        TimeSpan jump = _clock.Look();
        if (jump == TimeSpan.Zero)
            return;
        Log.ClockJumped(jump);
        _schedule.Shift(jump);
        (Delivery Delivery, DateTimeOffset Due)[] rowless = [.. _rowless.UnorderedItems];
        _rowless.Clear();
        foreach ((Delivery delivery, DateTimeOffset due) in rowless)
            _rowless.Enqueue(delivery with { NextAttempt = delivery.NextAttempt + jump }, due + jump);
    }

    /// <summary>
    /// False for a delivery all of whose mail servers are on the check list (C4), as long as nothing else has to be done with it: then a million
    /// of them cost next to nothing.
    /// </summary>
    private bool MustBeRead(Waiting waiting, DateTimeOffset now) =>
        _routes.Named(_schedule.RouteOf(waiting).Name) is not { } route
        || route.MailServers.Any(server => !_checkList.IsListed(server))
        || now >= RetrySchedule.Expiry(_clock.SinceJumps(waiting.Arrival), waiting.IsBounce, Settings.Client)
        || (!waiting.Flags.HasFlag(WaitingFlags.Warned)
            && RetrySchedule.IsWarningDue(_clock.SinceJumps(waiting.Arrival), waiting.IsBounce, now, Settings.Client));

    /// <summary>Not tried, because its mail server is on the check list: waits as long as after a failed attempt, and none is counted.</summary>
    private void WaitOn(Waiting waiting, DateTimeOffset now) =>
        _schedule.Add(waiting, RetrySchedule.Next(waiting.Attempts, now, _clock.SinceJumps(waiting.Arrival), waiting.IsBounce, Settings.Client, _chance.NextDouble()));

    /// <summary>
    /// What becomes of a delivery that is not in hand, by its row: held, due later, or due now and given to a mail server of its route as long as that
    /// one has room; else it waits in the table for its turn.
    /// </summary>
    private void Place(Delivery delivery, bool wasDue = false)
    {
        DateTimeOffset now = Time.GetUtcNow();
        // No later than a failed attempt would be followed by the next: the clock may have been set back while this process was not running.
        if (delivery.Hold || (!wasDue && delivery.Order == Order.None && delivery.NextAttempt > now))
            _schedule.Add(_schedule.Entry(delivery), Earlier(delivery.NextAttempt, now + RetrySchedule.LongestWait(Settings.Client)));
        else
            Dispatch(delivery, now);
        _hasNewSummary = true;
    }

    private static DateTimeOffset Earlier(DateTimeOffset a, DateTimeOffset b) => a < b ? a : b;

    /// <summary>
    /// Gives a delivery that is due to a mail server of its route: the one whose turn it is (C9). One that is on the check list is sent
    /// nothing (C4): the delivery waits for its next time, or takes the next mail server with failover = "next".
    /// </summary>
    private void Dispatch(Delivery delivery, DateTimeOffset now)
    {
        if (delivery.Order == Order.Bounce)
        {
            GiveUp(delivery);
            return;
        }
        if (_routes.Named(delivery.Route) is not { } route)
        {
            if (Moved(delivery))
                return;
            Log.NoRoute(delivery);
            WaitOrGiveUp(delivery, _schedule.Entry(delivery) with { Attempts = byte.MaxValue }, now);
            return;
        }
        MailServer? server = delivery.Order == Order.Flush
            ? _rotation.Take(route)
            : _rotation.Choose(route, Settings.Client.Failover, _checkList.IsListed);
        if (server is null)
        {
            WaitOrGiveUp(delivery, _schedule.Entry(delivery), now);
            return;
        }
        MailServerQueue queue = QueueOf(server);
        if (queue.Room <= 0)
        {
            _schedule.Due(_schedule.Entry(delivery));
            return;
        }
        TakeInHand(delivery);
        queue.Add(delivery);
    }

    private void TakeInHand(Delivery delivery)
    {
        var hand = new InHand(delivery, new Row(delivery, _generation));
        foreach (OpenRecipient recipient in delivery.Recipients)
            _active[(delivery.Position, recipient.Ordinal)] = hand;
    }

    /// <summary>The rows that a delivery has now, which is in nobody's hand any more.</summary>
    private List<Row> LetGo(Delivery delivery)
    {
        List<Row> rows = [];
        foreach (OpenRecipient recipient in delivery.Recipients)
        {
            if (_active.Remove((delivery.Position, recipient.Ordinal), out InHand? hand))
                rows = hand.Rows;
        }
        return rows;
    }

    /// <summary>
    /// Asked right before an attempt. False: somebody changed the row (held, deleted, sent elsewhere) since it was handed out, and that
    /// has been done instead.
    /// </summary>
    public bool MayBegin(Delivery delivery)
    {
        lock (_gate)
        {
            if (_active.TryGetValue((delivery.Position, delivery.Recipients[0].Ordinal), out InHand? hand) && hand.Rows is [{ Delivery: var row }]
                && (row.Key == delivery.Key || (delivery.Key == 0 && row is { Replaces: 0, Hold: false }))
                && _keeper.StillOpen(delivery) is not null)
            {
                return true;
            }
            PlaceAgain(delivery);
            return false;
        }
    }

    /// <summary>Back to the schedule: nothing has changed but what others did to its rows.</summary>
    public void PlaceAgain(Delivery delivery)
    {
        lock (_gate)
        {
            foreach (Delivery open in LetGoOpen(delivery))
            {
                if (!Moved(open))
                    Place(open);
            }
        }
    }

    /// <summary>As <see cref="LetGo"/>: what of its rows is open. One without a row gets it soon, and comes by that.</summary>
    private IEnumerable<Delivery> LetGoOpen(Delivery delivery) =>
        LetGo(delivery).Where(row => row.Delivery.Key != 0 && row.Generation == _generation).Select(row => _keeper.StillOpen(row.Delivery)).OfType<Delivery>();

    /// <summary>Not tried now: its sender is told if that has taken long, or for too long.</summary>
    private void WaitOrGiveUp(Delivery delivery, Waiting entry, DateTimeOffset now)
    {
        if (now >= ExpiryOf(delivery))
            GiveUp(delivery);
        else if (IsWarningDue(delivery, now))
            Warn(delivery);
        else
            WaitOn(entry, now);
    }

    private bool IsWarningDue(Delivery delivery, DateTimeOffset now) =>
        !delivery.Warned && RetrySchedule.IsWarningDue(ArrivalOf(delivery), delivery.ReversePath.Length == 0, now, Settings.Client);

    private MailServerQueue QueueOf(MailServer server)
    {
        string key = server.Key;
        if (!_servers.TryGetValue(key, out MailServerQueue? queue))
            _servers[key] = queue = new MailServerQueue(Registered(server.Domain, key) ?? server, this);
        return queue;
    }

    /// <summary>A row of the table: its key means something in its generation only.</summary>
    private readonly record struct Row(Delivery Delivery, long Generation);

    /// <summary>A delivery in the hand of a mail server or the postmaster.</summary>
    /// <param name="delivery">As it was handed out.</param>
    private sealed class InHand(Delivery delivery, Row row)
    {
        public Delivery Delivery { get; } = delivery;

        /// <summary>Its row, or those that took its place meanwhile; with the key 0 as long as it has none.</summary>
        public List<Row> Rows { get; } = [row];

        /// <summary>The attempt has ended before there was a row: what is to be written once there is.</summary>
        public Func<Delivery, Delivery>? Ended { get; set; }

        public void Replace(Row by)
        {
            Rows.RemoveAll(row => row.Delivery.Key == 0 || row.Delivery.Key == by.Delivery.Key || row.Delivery.Key == by.Delivery.Replaces
                || row.Generation != by.Generation);
            Rows.Add(by);
        }
    }
}
