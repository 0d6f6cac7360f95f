using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Tests;

/// <summary>
/// One mail server, 192.168.0.1:25 for example.com, watched by one process in virtual time. The test says from when on it is up or down;
/// the story runs each check at the moment the state machine named, and keeps what an operator would read.
/// </summary>
internal sealed class HealthStory
{
    public static readonly DateTimeOffset Midnight = new(2026, 11, 24, 0, 0, 0, TimeSpan.Zero);
    public static readonly Announcement Announced = new("PIPELINING SIZE", 1000);
    public static readonly MailServer MailServer = new() { Domain = "example.com", Host = "192.168.0.1" };

    private readonly VirtualTime _time = new(Midnight);
    private readonly MailLog _log;

    public HealthStory(HealthOwner owner)
    {
        Health = MailServerHealth.Of(owner, MailServer, Midnight);
        _log = MailLog.ToAction(Language.Ja, (line, _) => Lines.Add($"{Clock} {line.Code}"));
    }

    public ServerSettings Server { get; set; } = new();
    public ClientSettings Client { get; set; } = new();
    public MailServerHealth Health { get; private set; }
    public DateTimeOffset Now => _time.GetUtcNow();

    /// <summary>What a check finds at present.</summary>
    public HealthEvent Answer { get; set; } = new HealthEvent.CheckSucceeded(Announced);

    /// <summary>"01:02:03 INFO_a202".</summary>
    public List<string> Lines { get; } = [];

    /// <summary>When checks began.</summary>
    public List<string> Checks { get; } = [];

    private string Clock => Now.ToString("HH:mm:ss", CultureInfo.InvariantCulture);

    public static HealthEvent Refused => new HealthEvent.ConnectFailed("Connection refused");

    /// <summary>Runs all checks up to and including a time of the day.</summary>
    public void RunUntil(string clock)
    {
        DateTimeOffset end = Midnight + TimeSpan.Parse(clock, CultureInfo.InvariantCulture);
        while (Health.NextCheck <= end)
        {
            if (Health.NextCheck > Now)
                _time.AdvanceTo(Health.NextCheck);
            Checks.Add(Clock);
            Happen(new HealthEvent.CheckStarts());
            Happen(Answer);
        }
        _time.AdvanceTo(end);
    }

    public void Happen(HealthEvent what)
    {
        HealthChange change = Health.Owner == HealthOwner.Server
            ? ServerChecks.Next(Health, what, Now, Server, jitter: TimeSpan.Zero)
            : CheckList.Next(Health, what, Now, Client);
        Health = change.Health;
        _log.Health(change);
    }
}
