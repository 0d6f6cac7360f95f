using System.Runtime.InteropServices;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// A delivery that waits, in 24 octets: what has to be known of it until it is due. All else stays in its row, which is read again then,
/// so that a million of them fit in memory.
/// </summary>
internal readonly record struct Waiting
{
    public required long Key { get; init; }

    /// <summary>Which route: see <see cref="Schedule.RouteOf"/>.</summary>
    public required int Route { get; init; }

    public required uint ArrivalSeconds { get; init; }

    /// <summary>Of mail data, rounded up.</summary>
    public required uint KiB { get; init; }

    public required byte Attempts { get; init; }

    public required WaitingFlags Flags { get; init; }

    public DateTimeOffset Arrival => DateTimeOffset.FromUnixTimeSeconds(ArrivalSeconds);

    public bool IsBounce => Flags.HasFlag(WaitingFlags.Bounce);
}

[Flags]
internal enum WaitingFlags : byte
{
    None = 0,

    /// <summary>Null reverse-path.</summary>
    Bounce = 1,
    Warned = 2,
    Held = 4,
}

/// <summary>One route's part of the schedule: what is due and has not been read yet, the new mail apart from what was tried before.</summary>
internal sealed class RouteQueue(string name, int index)
{
    public string Name { get; } = name;
    public int Index { get; } = index;
    public Queue<Waiting> Fresh { get; } = [];
    public Queue<Waiting> Retries { get; } = [];
    public int Count => Fresh.Count + Retries.Count;

    /// <summary>Rows of it are being read.</summary>
    public bool IsReading { get; set; }

    public string LastReply { get; set; } = "";
}

/// <summary>
/// Every delivery that is not with a mail server right now: by the time of its next attempt, and once that has come, by its route. Not safe
/// for use by several threads.
/// </summary>
internal sealed class Schedule
{
    private const int FewGone = 1000;

    private readonly PriorityQueue<Waiting, long> _later = new();
    private readonly Dictionary<string, RouteQueue> _byName = new(StringComparer.Ordinal);
    private readonly List<RouteQueue> _routes = [];
    private readonly HashSet<RouteQueue> _due = [];

    /// <summary>Keys of rows that somebody else replaced: their entries mean nothing any more.</summary>
    private readonly HashSet<long> _gone = [];

    /// <summary>With more of them their entries are looked for: one on hold never comes up by itself, and one that was in hand has none.</summary>
    private int _mostGone = FewGone;

    public RouteQueue RouteOf(Waiting waiting) => _routes[waiting.Route];

    public RouteQueue Route(string name)
    {
        if (!_byName.TryGetValue(name, out RouteQueue? route))
        {
            _byName[name] = route = new RouteQueue(name, _routes.Count);
            _routes.Add(route);
        }
        return route;
    }

    /// <summary>Those with something that is due; as it is now, so that the caller may take from them.</summary>
    public RouteQueue[] DueRoutes() => [.. _due];

    public Waiting Entry(Delivery delivery) => new()
    {
        Key = delivery.Key,
        Route = Route(delivery.Route).Index,
        ArrivalSeconds = (uint)Math.Clamp(delivery.Arrival.ToUnixTimeSeconds(), 0, uint.MaxValue),
        KiB = (uint)((delivery.Size + 1023) >> 10),
        Attempts = (byte)Math.Min(delivery.Attempts, byte.MaxValue),
        Flags = (delivery.ReversePath.Length == 0 ? WaitingFlags.Bounce : WaitingFlags.None)
            | (delivery.Warned ? WaitingFlags.Warned : WaitingFlags.None)
            | (delivery.Hold ? WaitingFlags.Held : WaitingFlags.None),
    };

    public void Add(Waiting waiting, DateTimeOffset due) =>
        _later.Enqueue(waiting, waiting.Flags.HasFlag(WaitingFlags.Held) ? long.MaxValue : due.UtcTicks);

    /// <summary>The row was replaced by another, which is news.</summary>
    public void Replaced(long key)
    {
        _gone.Add(key);
        if (_gone.Count > _mostGone)
            DropGone();
    }

    /// <summary>So seldom that it costs little: after half as many as wait.</summary>
    private void DropGone()
    {
        (Waiting, long)[] left = [.. _later.UnorderedItems.Where(item => !_gone.Contains(item.Element.Key))];
        _later.Clear();
        _later.EnqueueRange(left);
        foreach (Queue<Waiting> due in _routes.SelectMany(route => new[] { route.Fresh, route.Retries }))
        {
            for (int i = due.Count; i > 0; i--)
            {
                Waiting waiting = due.Dequeue();
                if (!_gone.Contains(waiting.Key))
                    due.Enqueue(waiting);
            }
        }
        _gone.Clear();
        _mostGone = Math.Max(FewGone, (_later.Count + _routes.Sum(route => route.Count)) / 2);
    }

    /// <summary>The next one whose time has come; false: none.</summary>
    public bool TryTakeDue(DateTimeOffset now, out Waiting waiting)
    {
        while (_later.TryPeek(out waiting, out long due) && due <= now.UtcTicks)
        {
            _later.Dequeue();
            if (!_gone.Remove(waiting.Key))
                return true;
        }
        return false;
    }

    public TimeSpan WaitUntilNext(DateTimeOffset now) =>
        _later.TryPeek(out _, out long due) && due != long.MaxValue ? TimeSpan.FromTicks(Math.Max(due - now.UtcTicks, 0)) : TimeSpan.MaxValue;

    /// <summary>Puts one that is due where its route's rows are read from, in its turn.</summary>
    public void Due(Waiting waiting)
    {
        RouteQueue route = RouteOf(waiting);
        (waiting.Attempts == 0 ? route.Fresh : route.Retries).Enqueue(waiting);
        _due.Add(route);
    }

    /// <summary>Keys of the next rows of a route, new mail first; at most <paramref name="limit"/>.</summary>
    public List<long> TakeKeys(RouteQueue route, int limit)
    {
        List<long> keys = [];
        while (keys.Count < limit && (route.Fresh.TryDequeue(out Waiting waiting) || route.Retries.TryDequeue(out waiting)))
        {
            if (!_gone.Remove(waiting.Key))
                keys.Add(waiting.Key);
        }
        if (route.Count == 0)
            _due.Remove(route);
        return keys;
    }

    /// <summary>
    /// Makes all that waits for some routes due (C7, on_recovery = "release"), oldest first: in the order of its keys, so that rows of one leaf of the table
    /// are read and deleted together.
    /// </summary>
    public void Release(Func<RouteQueue, bool> which, DateTimeOffset now)
    {
        var released = _routes.Where(which).Select(route => route.Index).ToHashSet();
        if (released.Count == 0)
            return;
        ILookup<bool, (Waiting Waiting, long Due)> all = _later.UnorderedItems
            .ToLookup(item => released.Contains(item.Element.Route) && item.Priority != long.MaxValue && item.Priority > now.UtcTicks);
        _later.Clear();
        _later.EnqueueRange(all[false]);
        long due = now.UtcTicks - all[true].Count();
        _later.EnqueueRange(all[true].OrderBy(item => item.Waiting.Key).Select(item => (item.Waiting, ++due)));
    }

    /// <summary>The clock has jumped: everything that waits has its time moved with it.</summary>
    public void Shift(TimeSpan by)
    {
        (Waiting, long)[] all = [.. _later.UnorderedItems];
        _later.Clear();
        _later.EnqueueRange(all.Select(item => (item.Item1, item.Item2 == long.MaxValue ? item.Item2 : item.Item2 + by.Ticks)));
    }

    /// <summary>Forgets everything: the table was made again, or all of it is to be looked at anew.</summary>
    public void Clear()
    {
        _later.Clear();
        _gone.Clear();
        _due.Clear();
        _mostGone = FewGone;
        foreach (RouteQueue route in _routes)
        {
            route.Fresh.Clear();
            route.Retries.Clear();
        }
    }

    /// <summary>What there is for each route, together with what mail servers have in hand.</summary>
    public IReadOnlyList<RouteSummary> Summarize(IEnumerable<Delivery> active)
    {
        var totals = new Total[_routes.Count];
        foreach ((Waiting waiting, long due) in _later.UnorderedItems)
            Count(waiting, due);
        foreach (RouteQueue route in _routes)
        {
            foreach (Waiting waiting in route.Fresh.Concat(route.Retries))
                Count(waiting, 0);
        }
        foreach (Delivery delivery in active)
        {
            int route = Route(delivery.Route).Index;
            if (route >= totals.Length)
                Array.Resize(ref totals, route + 1);
            Count(Entry(delivery), 0);
            totals[route].Active++;
        }
        return [.. totals.Select((total, i) => (total, i)).Where(item => item.total.Count > 0).Select(item => item.total.ToSummary(_routes[item.i]))];

        void Count(Waiting waiting, long due)
        {
            if (_gone.Count == 0 || !_gone.Contains(waiting.Key))
                totals[waiting.Route].Count1(waiting, due);
        }
    }

    [StructLayout(LayoutKind.Auto)]
    private struct Total
    {
        public int Count, Active;
        private int _held;
        private long _kib, _due;
        private uint _oldest;

        public void Count1(Waiting waiting, long due)
        {
            if (Count++ == 0)
                (_oldest, _due) = (waiting.ArrivalSeconds, due);
            _oldest = Math.Min(_oldest, waiting.ArrivalSeconds);
            _due = Math.Min(_due, due);
            _kib += waiting.KiB;
            if (waiting.Flags.HasFlag(WaitingFlags.Held))
                _held++;
        }

        public readonly RouteSummary ToSummary(RouteQueue route) => new(
            route.Name, Count, _kib << 10, _held, Active, DateTimeOffset.FromUnixTimeSeconds(_oldest),
            _due == long.MaxValue ? DateTimeOffset.MaxValue : _due == 0 ? default : new DateTimeOffset(_due, TimeSpan.Zero), route.LastReply);
    }
}
