namespace Mfrelay.Core;

/// <summary>
/// The state machine of mf-smtp-server's checks (S1 to S10), pure: state, event and time in, state and log lines out.
/// <code>
/// unknown, reached --check fails--> down: logged, checked again at once, then every recheck_interval; every 15th failed recheck is logged
/// unknown, reached, down --check succeeds--> reached: logged, checked again after check_interval
/// </code>
/// </summary>
public static class ServerChecks
{
    private static readonly LogEvent[] Silence = [];

    /// <param name="jitter">Added to the long interval, so that many mail servers are not checked in the same instant.</param>
    public static HealthChange Next(MailServerHealth health, HealthEvent what, DateTimeOffset now, ServerSettings settings, TimeSpan jitter) =>
        what switch
        {
            // While it is down a check is announced only when it turns out to be the recovery (S10).
            HealthEvent.CheckStarts => new(health, health.State == HealthState.Down ? Silence : [LogEvents.CheckStarts]),
            HealthEvent.CheckSucceeded success => Succeeded(health, success.Announced, now, settings, jitter),
            HealthEvent.ConnectFailed failure => Failed(health, failure.Error, LogEvents.ConnectFailed, now, settings),
            HealthEvent.DialogFailed failure => Failed(health, failure.Error, LogEvents.DialogFailed, now, settings),
            // What only the client saw decides nothing here (S12).
            HealthEvent.DeliveryFailed or HealthEvent.DeliverySucceeded => new(health, Silence),
            _ => throw new ArgumentOutOfRangeException(nameof(what)),
        };

    private static HealthChange Succeeded(MailServerHealth health, Announcement announced, DateTimeOffset now, ServerSettings settings, TimeSpan jitter) =>
        new(health with
        {
            State = HealthState.Reached,
            Since = health.State == HealthState.Reached ? health.Since : now,
            LastCheck = now,
            Failures = 0,
            LastError = "",
            Announced = announced,
            NextCheck = now + settings.CheckInterval + jitter,
        },
        health.State == HealthState.Down ? [LogEvents.CheckStarts, LogEvents.CheckSucceeded] : [LogEvents.CheckSucceeded]);

    private static HealthChange Failed(MailServerHealth health, string error, LogEvent line, DateTimeOffset now, ServerSettings settings)
    {
        int failures = health.Failures + 1;
        return new(health with
        {
            State = HealthState.Down,
            Since = health.State == HealthState.Down ? health.Since : now,
            LastCheck = now,
            Failures = failures,
            LastError = error,
            NextCheck = failures == 1 ? now : now + settings.RecheckInterval, // S9
        },
        (failures - 1) % settings.LogEveryFailure == 0 ? [line] : Silence); // the first failure is no recheck yet (S10)
    }
}

/// <summary>
/// The state machine of mf-smtp-client's check list (C1 to C6), pure. Down means: on the list. Nothing that is not on it is ever checked.
/// <code>
/// unknown, reached --delivery fails--> down: logged, checked every recheck_interval
/// down --check succeeds--> reached: logged, checked no more
/// </code>
/// </summary>
public static class CheckList
{
    private static readonly LogEvent[] Silence = [];

    public static HealthChange Next(MailServerHealth health, HealthEvent what, DateTimeOffset now, ClientSettings settings) =>
        what switch
        {
            HealthEvent.DeliveryFailed failure when health.State == HealthState.Down =>
                new(health with { LastError = failure.Error }, Silence),
            HealthEvent.DeliveryFailed failure => new(
                health with
                {
                    State = HealthState.Down,
                    Since = now,
                    Failures = 1,
                    LastError = failure.Error,
                    NextCheck = now + settings.RecheckInterval,
                },
                [LogEvents.Listed]),
            HealthEvent.DeliverySucceeded => health.State == HealthState.Down
                ? Unlisted(health with { LastDelivery = now }, health.Announced, now) // forced past the list by an operator, and it worked
                : new(health with { State = HealthState.Reached, LastDelivery = now, Since = health.State == HealthState.Reached ? health.Since : now }, Silence),
            HealthEvent.CheckSucceeded success when health.State == HealthState.Down =>
                Unlisted(health with { LastCheck = now }, success.Announced, now),
            HealthEvent.ConnectFailed failure when health.State == HealthState.Down => StillDown(health, failure.Error, now, settings),
            HealthEvent.DialogFailed failure when health.State == HealthState.Down => StillDown(health, failure.Error, now, settings),
            _ => new(health, Silence),
        };

    private static HealthChange Unlisted(MailServerHealth health, Announcement announced, DateTimeOffset now) =>
        new(health with
        {
            State = HealthState.Reached,
            Since = now,
            Failures = 0,
            LastError = "",
            Announced = announced,
            NextCheck = DateTimeOffset.MaxValue,
        },
        [LogEvents.Unlisted]);

    private static HealthChange StillDown(MailServerHealth health, string error, DateTimeOffset now, ClientSettings settings) =>
        new(health with
        {
            LastCheck = now,
            Failures = health.Failures + 1,
            LastError = error,
            NextCheck = now + settings.RecheckInterval,
        },
        Silence);
}
