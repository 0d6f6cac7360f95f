using System.Diagnostics;

namespace Mfrelay.CrashTests;

/// <summary>A session of the target's.</summary>
internal sealed class TargetSession
{
    public long Began { get; } = Stopwatch.GetTimestamp();

    /// <summary>When the connection ended without QUIT; 0 when it did not.</summary>
    public long Cut { get; set; }

    /// <summary>Messages that came whole.</summary>
    public int Taken { get; set; }
}

/// <summary>A message that came whole.</summary>
/// <param name="Number">Which one of its session, from 1.</param>
internal readonly record struct Arrival(TargetSession Session, int Number, long Time);

/// <summary>What became of everything that was acknowledged.</summary>
/// <param name="Delivered">Different messages that came, acknowledged or not (a kill may come between the disk and the 250).</param>
/// <param name="Duplicated">Messages that came again where that is allowed: in flight at a kill, settled right before a power cut.</param>
/// <param name="Unexcused">Messages that came again without such a reason.</param>
internal readonly record struct Verdict(int Acknowledged, int Delivered, int Lost, int Duplicated, int Unexcused)
{
    public bool IsGood => Lost == 0 && Unexcused == 0 && Acknowledged > 0;
}

/// <summary>The books: what the source had acknowledged when, and what the target got when. Safe for use by several threads.</summary>
internal sealed class Ledger
{
    /// <summary>Messages that a session of mf-smtp-client has under way at once.</summary>
    private const int InFlightPerSession = 1;

    /// <summary>The done journal is synced every second, and that takes its time.</summary>
    private static readonly TimeSpan JournalLag = TimeSpan.FromSeconds(2.5);

    private readonly Lock _gate = new();
    private readonly Dictionary<int, long> _acknowledged = [];
    private readonly Dictionary<int, List<Arrival>> _arrived = [];
    private readonly List<long> _kills = [];
    private readonly List<(long From, long To)> _cuts = [];
    private readonly HashSet<int> _givenUp = [];

    public int Damaged { get; private set; }

    public int Acknowledged
    {
        get
        {
            lock (_gate)
                return _acknowledged.Count;
        }
    }

    public int Arrived
    {
        get
        {
            lock (_gate)
                return _arrived.Count;
        }
    }

    public void Acknowledge(int id)
    {
        lock (_gate)
            _acknowledged[id] = Stopwatch.GetTimestamp();
    }

    public void Arrive(int id, TargetSession session)
    {
        lock (_gate)
        {
            if (!_arrived.TryGetValue(id, out List<Arrival>? arrivals))
                _arrived[id] = arrivals = [];
            arrivals.Add(new Arrival(session, ++session.Taken, Stopwatch.GetTimestamp()));
        }
    }

    public void ArriveDamaged(TargetSession session)
    {
        lock (_gate)
        {
            session.Taken++;
            Damaged++;
        }
    }

    /// <summary>mf-smtp-client is about to be killed.</summary>
    public void Kill()
    {
        lock (_gate)
            _kills.Add(Stopwatch.GetTimestamp());
    }

    /// <summary>
    /// The world went on from a picture of the disk that was taken between two moments: what was acknowledged or came after it, until now,
    /// did not happen.
    /// </summary>
    public void PowerCut(long from, long to)
    {
        lock (_gate)
        {
            _cuts.Add((from, to));
            foreach (int id in _acknowledged.Where(pair => pair.Value > from).Select(pair => pair.Key).ToArray())
                _acknowledged.Remove(id);
            foreach ((int id, List<Arrival> arrivals) in _arrived.ToArray())
            {
                if (arrivals.RemoveAll(arrival => arrival.Time > to) > 0 && arrivals.Count == 0)
                    _arrived.Remove(id);
            }
        }
    }

    /// <summary>Nobody expects this message any more: its record has been damaged on purpose.</summary>
    public void GiveUp(int id)
    {
        lock (_gate)
            _givenUp.Add(id);
    }

    public bool IsGivenUp(int id)
    {
        lock (_gate)
            return _givenUp.Contains(id);
    }

    public bool HasArrived(int id)
    {
        lock (_gate)
            return _arrived.ContainsKey(id);
    }

    /// <summary>Some of what has not come, for a report.</summary>
    public int[] Missing()
    {
        lock (_gate)
            return [.. _acknowledged.Keys.Where(id => !_arrived.ContainsKey(id) && !_givenUp.Contains(id))];
    }

    public Verdict Judge()
    {
        lock (_gate)
        {
            int lost = Missing().Length, excused = 0, unexcused = 0;
            foreach (List<Arrival> arrivals in _arrived.Values)
            {
                for (int i = 0; i + 1 < arrivals.Count; i++)
                {
                    if (WasInFlight(arrivals[i]) || _cuts.Exists(cut => arrivals[i].Time >= cut.From - Ticks(JournalLag) && arrivals[i].Time <= cut.To))
                        excused++;
                    else
                        unexcused++;
                }
            }
            return new Verdict(_acknowledged.Count, _arrived.Count, lost, excused, unexcused);
        }
    }

    /// <summary>The last of a session that was open at a kill: its reply may not have been written down. Every other one had been.</summary>
    private bool WasInFlight(Arrival arrival) =>
        arrival.Session.Cut != 0 && arrival.Number > arrival.Session.Taken - InFlightPerSession
        && _kills.Exists(kill => kill >= arrival.Session.Began && kill <= arrival.Session.Cut);

    private static long Ticks(TimeSpan span) => (long)(span.TotalSeconds * Stopwatch.Frequency);
}
