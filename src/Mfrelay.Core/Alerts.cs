using System.Globalization;

namespace Mfrelay.Core;

/// <summary>[alert]: when mf-smtp-client tells an operator that mail piles up, and how, besides the journal (B6).</summary>
public sealed record AlertSettings
{
    [Setting("Raised when the oldest mail has waited this long, mail on hold left out; 0 never", Min = "0s", Max = "100d")]
    public TimeSpan OldestMail { get; init; }

    [Setting("Raised when the queue has this many deliveries; 0 never", Min = "0", Max = "1000000000")]
    public int QueueSize { get; init; }

    [Setting("Raised when a mail server has been down this long in the view of either process; 0 never", Min = "0s", Max = "100d")]
    public TimeSpan ServerDown { get; init; }

    [Setting("Raised when the file system of state_directory has less room than this; 0 never", Min = "0")]
    public long DiskFree { get; init; }

    [Setting("How often the rules are looked at", Min = "1s", Max = "1h")]
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(30);

    [Setting("Program to run for each alert raised or cleared, with the arguments raised|cleared, RULE, SUBJECT, VALUE; no shell; \"\" is none",
        Form = SettingForm.OptionalPath)]
    public string Exec { get; init; } = "";

    [Setting("The program is killed after this long", Min = "1s", Max = "10m")]
    public TimeSpan ExecTimeout { get; init; } = TimeSpan.FromSeconds(10);

    [Setting("URL that gets an HTTP POST for each alert raised or cleared: a JSON object with code, state, rule, subject, value, since and host; \"\" is none",
        Form = SettingForm.OptionalUrl)]
    public string Webhook { get; init; } = "";

    [Setting("How long one try of the webhook may take; there are four, 1 s, 5 s and 30 s apart", Min = "1s", Max = "1m")]
    public TimeSpan WebhookTimeout { get; init; } = TimeSpan.FromSeconds(10);

    public bool IsOn => OldestMail > TimeSpan.Zero || QueueSize > 0 || ServerDown > TimeSpan.Zero || DiskFree > 0;
}

/// <summary>Which rule an alert is of.</summary>
public enum AlertRule
{
    OldestMail,
    QueueSize,
    ServerDown,
    DiskFree,
}

/// <param name="Subject">What it is about: "queue", a mail server, a directory.</param>
/// <param name="Value">How bad it is, for people to read.</param>
public sealed record Alert(AlertRule Rule, string Subject, string Value)
{
    /// <summary>When it was raised.</summary>
    public DateTimeOffset Since { get; init; }

    public string RuleName => Setting.SnakeCase(Rule.ToString());
}

/// <summary>What the rules are held against.</summary>
/// <param name="DiskFree">Octets; null: unknown.</param>
public sealed record AlertFacts(
    DateTimeOffset Now, QueueSummary? Queue, IReadOnlyList<MailServerHealth> Health, string Directory, long? DiskFree);

/// <summary>Which alerts are up. Each is raised once when its rule is broken and cleared once when it holds again; pure but for that memory.</summary>
public sealed class AlertBoard
{
    private readonly Dictionary<(AlertRule, string), Alert> _up = [];

    /// <summary>For the status line; empty when all is well.</summary>
    public string Status => _up.Count == 0 ? "" : $"alerts: {string.Join(", ", _up.Values.Select(alert => $"{alert.RuleName} {alert.Subject} {alert.Value}"))}";

    /// <summary>Those that are up.</summary>
    public IReadOnlyList<Alert> Up => [.. _up.Values];

    /// <summary>Those that were up when the process before this one ended.</summary>
    public void Restore(IEnumerable<Alert> up)
    {
        foreach (Alert alert in up)
            _up.TryAdd((alert.Rule, alert.Subject), alert);
    }

    /// <summary>What changed.</summary>
    public (IReadOnlyList<Alert> Raised, IReadOnlyList<Alert> Cleared) Look(AlertFacts facts, AlertSettings rules)
    {
        Dictionary<(AlertRule, string), Alert> now = Broken(facts, rules)
            .Select(alert => alert with { Since = _up.GetValueOrDefault((alert.Rule, alert.Subject))?.Since ?? facts.Now })
            .ToDictionary(alert => (alert.Rule, alert.Subject));
        Alert[] raised = [.. now.Values.Where(alert => !_up.ContainsKey((alert.Rule, alert.Subject)))];
        Alert[] cleared = [.. _up.Values.Where(alert => !now.ContainsKey((alert.Rule, alert.Subject)))];
        _up.Clear();
        foreach (((AlertRule, string) key, Alert alert) in now)
            _up[key] = alert;
        return (raised, cleared);
    }

    private IEnumerable<Alert> Broken(AlertFacts facts, AlertSettings rules) =>
        (facts.Queue is { } queue ? OfQueue(queue, facts.Now, rules) : Kept(rules)).Concat(OfMachine(facts, rules));

    private static IEnumerable<Alert> OfQueue(QueueSummary queue, DateTimeOffset now, AlertSettings rules)
    {
        RouteSummary[] waiting = [.. queue.Routes.Where(route => route.Count > route.Held)];
        if (rules.OldestMail > TimeSpan.Zero && waiting.Length > 0)
        {
            TimeSpan age = now - waiting.Min(route => route.Oldest);
            if (age >= rules.OldestMail)
                yield return new Alert(AlertRule.OldestMail, "queue", Text(age));
        }
        int count = queue.Routes.Sum(route => route.Count);
        if (rules.QueueSize > 0 && count >= rules.QueueSize)
            yield return new Alert(AlertRule.QueueSize, "queue", count.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>A queue that has not been counted yet says nothing: neither raised nor cleared.</summary>
    private IEnumerable<Alert> Kept(AlertSettings rules) => _up.Values.Where(alert =>
        (alert.Rule == AlertRule.OldestMail && rules.OldestMail > TimeSpan.Zero) || (alert.Rule == AlertRule.QueueSize && rules.QueueSize > 0));

    private static IEnumerable<Alert> OfMachine(AlertFacts facts, AlertSettings rules)
    {
        if (rules.ServerDown > TimeSpan.Zero)
        {
            foreach (IGrouping<string, MailServerHealth> down in facts.Health
                .Where(row => row.State == HealthState.Down && facts.Now - row.Since >= rules.ServerDown).GroupBy(row => row.Key, StringComparer.Ordinal))
            {
                yield return new Alert(AlertRule.ServerDown, down.Key, Text(facts.Now - down.Min(row => row.Since)));
            }
        }
        if (rules.DiskFree > 0 && facts.DiskFree < rules.DiskFree)
            yield return new Alert(AlertRule.DiskFree, facts.Directory, string.Create(CultureInfo.InvariantCulture, $"{facts.DiskFree >> 20}MiB"));
    }

    private static string Text(TimeSpan span) =>
        span.TotalMinutes < 1 ? string.Create(CultureInfo.InvariantCulture, $"{(long)span.TotalSeconds}s") : string.Create(CultureInfo.InvariantCulture, $"{(long)span.TotalMinutes}m");
}
