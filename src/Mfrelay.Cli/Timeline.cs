using Mfrelay.Core;

namespace Mfrelay.Cli;

internal enum TimelineKind
{
    /// <summary>The scenario has a mail server go down.</summary>
    GoesDown,

    /// <summary>The scenario has it come back.</summary>
    ComesBack,

    /// <summary>A line in the journal.</summary>
    Log,

    /// <summary>A failed recheck of mf-smtp-server that is not logged (S10).</summary>
    SilentCheck,

    /// <summary>A failed recheck of mf-smtp-client; never logged (C5).</summary>
    ListedCheck,

    /// <summary>550 5.1.2.</summary>
    NoRoute,

    /// <summary>421 (S7).</summary>
    Refused,

    /// <summary>Accepted, and not tried: its mail server is on the check list (C4).</summary>
    Queued,

    /// <summary>Its retry came, and its mail server is still on the check list.</summary>
    StillWaiting,

    /// <summary>An attempt failed.</summary>
    Deferred,

    /// <summary>Delivered at once.</summary>
    Delivered,

    /// <summary>Delivered after it had waited.</summary>
    DeliveredLate,
}

/// <summary>What happened, once or several times in a row.</summary>
/// <param name="Text">The log line; otherwise the domain or mail server it is about.</param>
internal sealed record TimelineEntry(TimeSpan From, string Domain, TimelineKind Kind, string Text)
{
    public TimeSpan To { get; set; } = From;
    public int Count { get; set; } = 1;

    /// <summary>Of deliveries that had waited.</summary>
    public TimeSpan LongestDelay { get; set; }
}

internal sealed class SimulationTotals
{
    public int Sent { get; set; }
    public int Unroutable { get; set; }
    public int Refused { get; set; }
    public int Accepted { get; set; }
    public int Delivered { get; set; }

    /// <summary>Still in the queue at the end.</summary>
    public int Queued { get; set; }

    public TimeSpan LongestDelay { get; set; }
}

/// <summary>
/// What happened in a simulation, in order. The same thing happening again to the same domain is counted and not repeated, until a mail
/// server goes down or comes back in the scenario or in somebody's view: then counting begins anew.
/// </summary>
internal sealed class Timeline(Language language)
{
    /// <summary>Lines that say that somebody's view has changed; the first WARN_a301 of an outage is found by its recheck not being silent.</summary>
    private static readonly LogEvent[] Turns = [LogEvents.Listed, LogEvents.Unlisted];

    private readonly Dictionary<(string Domain, string Key), TimelineEntry> _open = [];

    public List<TimelineEntry> Entries { get; } = [];
    public SimulationTotals Totals { get; } = new();

    public void Add(TimeSpan now, string domain, TimelineKind kind, string text) => Count(now, domain, kind, $"{kind} {text}", text);

    public void Log(TimeSpan now, string domain, LogEvent line, params ReadOnlySpan<object?> values)
    {
        if (Turns.Contains(line))
            Close(domain);
        // The queue id differs from line to line; what is counted is the code for the mail server.
        string key = line == LogEvents.CommunicationTimedOut ? $"{line.Code} {values[1]}:{values[2]}" : $"{line.Code} {values[0]}";
        Count(now, domain, TimelineKind.Log, key, line.Format(language, values));
    }

    public void Delivered(TimeSpan now, string domain, string text, TimeSpan delay)
    {
        Totals.Delivered++;
        if (delay > Totals.LongestDelay)
            Totals.LongestDelay = delay;
        TimelineKind kind = delay == TimeSpan.Zero ? TimelineKind.Delivered : TimelineKind.DeliveredLate;
        TimelineEntry entry = Count(now, domain, kind, $"{kind} {text}", text);
        if (delay > entry.LongestDelay)
            entry.LongestDelay = delay;
    }

    /// <summary>A turn in the scenario: everything is counted anew.</summary>
    public void Break(TimeSpan now, string name, TimelineKind kind)
    {
        _open.Clear();
        Entries.Add(new TimelineEntry(now, name, kind, name));
    }

    private TimelineEntry Count(TimeSpan now, string domain, TimelineKind kind, string key, string text)
    {
        if (_open.TryGetValue((domain, key), out TimelineEntry? entry))
        {
            entry.To = now;
            entry.Count++;
            return entry;
        }
        entry = new TimelineEntry(now, domain, kind, text);
        _open[(domain, key)] = entry;
        Entries.Add(entry);
        return entry;
    }

    private void Close(string domain)
    {
        foreach ((string Domain, string Key) key in _open.Keys.Where(key => string.Equals(key.Domain, domain, StringComparison.Ordinal)).ToArray())
            _open.Remove(key);
    }
}
