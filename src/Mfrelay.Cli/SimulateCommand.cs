using System.CommandLine;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay simulate": what would happen, in virtual time, with the configuration as it is.</summary>
internal sealed class SimulateCommand(CommandContext context)
{
    private const int MaxHours = 24 * 31;

    /// <summary>Of one simulation: what a command may take, a matter of seconds.</summary>
    private const int MaxMessages = 1_000_000;

    private readonly Option<string[]> _down = new("--down")
    {
        Description = "A mail server (host, host:port) or all of a domain go down: NAME@HH:MM+DURATION. May be given several times.",
        HelpName = "NAME@TIME+DURATION",
    };

    private readonly Option<string[]> _mail = new("--mail")
    {
        Description = "Mail comes: \"DOMAIN every DURATION\". May be given several times.",
        HelpName = "DOMAIN every DURATION",
    };

    private readonly Option<int> _hours = new("--hours") { Description = $"How long, from 00:00; up to {MaxHours}.", DefaultValueFactory = _ => 24 };
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command Create()
    {
        var command = new Command("simulate", "Show in virtual time what both processes would do when mail servers go down: checks, log lines, 421, queue, retries.")
        {
            _down,
            _mail,
            _hours,
            _config,
            _json,
        };
        command.AddExamples(
            ("mfrelay simulate --down example.com@02:00+3h --mail 'example.com every 30s'", "three hours without the mail servers of a domain"),
            ("mfrelay simulate --down 192.168.0.1:25@02:00+90s --mail 'example.com every 10s' --hours 4", "ninety seconds without one of them"),
            ("mfrelay simulate --down example.com@02:00+3h --json | jq .totals", "only the totals"));
        command.SetAction(result => Run(
            new Wish(result.GetValue(_down) ?? [], result.GetValue(_mail) ?? [], result.GetValue(_hours)),
            result.GetRequiredValue(_config), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private int Run(Wish wish, string config, bool asJson, InvocationConfiguration console)
    {
        if (CommandSupport.LoadSettings(config, console.Error) is not { } settings)
            return ConfigLoad.ExitCode;
        Language language = context.LanguageOf(settings);
        if (!TryScenario(wish, settings, out Scenario? scenario, out string error))
        {
            console.Error.WriteLine($"mfrelay: {error}");
            return CommandSupport.WrongUse;
        }
        // The journal's lines stay in the journal's language: they are what monitoring matches.
        Timeline timeline = Simulation.Run(settings, scenario);
        if (asJson)
            console.Output.WriteJson(ToJson(timeline, wish.Hours));
        else
            Print(timeline, language, console.Output);
        return 0;
    }

    private static bool TryScenario(Wish wish, Settings settings, [NotNullWhen(true)] out Scenario? scenario, out string error)
    {
        (scenario, error) = (null, "");
        if (wish.Hours is < 1 or > MaxHours)
        {
            error = $"--hours {wish.Hours}: write 1 to {MaxHours}";
            return false;
        }
        var length = TimeSpan.FromHours(wish.Hours);
        var outages = new List<Outage>();
        foreach (string text in wish.Down)
        {
            if (!TryOutage(text, out Outage? outage))
                error = $"--down {text}: write NAME@HH:MM+DURATION, such as example.com@02:00+3h";
            else if (!settings.MailServers.Any(server => outage.Covers(server, outage.Start)))
                error = $"--down {text}: no registered mail server has the host, address or domain {outage.Name}";
            else
                outages.Add(outage);
        }
        var mail = new List<MailStream>();
        foreach (string text in wish.Mail)
        {
            if (TryMail(text, out MailStream? stream))
                mail.Add(stream);
            else
                error = $"--mail \"{text}\": write \"DOMAIN every DURATION\", such as \"example.com every 30s\"";
        }
        if (error.Length == 0 && mail.Sum(stream => length / stream.Every) > MaxMessages)
            error = $"--mail: more than {MaxMessages} messages in {wish.Hours} hours; write a longer interval or fewer hours";
        scenario = new Scenario(length, outages, mail);
        return error.Length == 0;
    }

    /// <summary>NAME "@" H[H] ":" MM [ ":" SS ] "+" DURATION.</summary>
    private static bool TryOutage(string text, [NotNullWhen(true)] out Outage? outage)
    {
        outage = null;
        int at = text.LastIndexOf('@');
        int plus = text.LastIndexOf('+');
        if (at <= 0 || plus < at || !Duration.TryParse(text.AsSpan(plus + 1), out TimeSpan length) || length == TimeSpan.Zero)
            return false;
        string[] clock = text[(at + 1)..plus].Split(':');
        int[] numbers = [.. clock.Select(part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : -1)];
        if (numbers.Length is not (2 or 3) || numbers[0] is < 0 or > MaxHours || numbers.Skip(1).Any(number => number is < 0 or > 59))
            return false;
        outage = new Outage(text[..at], new TimeSpan(numbers[0], numbers[1], numbers.Length == 3 ? numbers[2] : 0), length);
        return true;
    }

    private static bool TryMail(string text, [NotNullWhen(true)] out MailStream? stream)
    {
        stream = text.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [var domain, "every", var interval]
            && Duration.TryParse(interval, out TimeSpan every) && every > TimeSpan.Zero
            ? new MailStream(domain, every)
            : null;
        return stream is not null;
    }

    private static void Print(Timeline timeline, Language language, TextWriter output)
    {
        foreach (TimelineEntry entry in timeline.Entries)
        {
            string to = entry.Count > 1 ? $"- {Clock(entry.To)}" : "";
            string count = entry.Count > 1 ? string.Create(CultureInfo.InvariantCulture, $"{entry.Count} × ") : "";
            output.WriteLine($"{Clock(entry.From)} {to,-12} {count}{TextOf(entry, language)}");
        }
        output.WriteLine();
        SimulationTotals totals = timeline.Totals;
        var table = new TextTable("", "");
        foreach ((string name, int value) in new[]
        {
            (language.Say("送信されたメール", "mail sent"), totals.Sent),
            (language.Say("421 で拒否", "refused with 421"), totals.Refused),
            (language.Say("550 で拒否", "refused with 550"), totals.Unroutable),
            (language.Say("受け付け", "accepted"), totals.Accepted),
            (language.Say("配送済み", "delivered"), totals.Delivered),
            (language.Say("キューに残存", "still in the queue"), totals.Queued),
        })
        {
            table.Add(name, value.ToString(CultureInfo.InvariantCulture));
        }
        table.Add(language.Say("最大遅延", "longest delay"), totals.LongestDelay == TimeSpan.Zero ? "0s" : Duration.Format(totals.LongestDelay));
        table.Write(output);
    }

    private static string TextOf(TimelineEntry entry, Language language) => entry.Kind switch
    {
        TimelineKind.GoesDown => $"*** {entry.Text} " + language.Say("停止", "goes down"),
        TimelineKind.ComesBack => $"*** {entry.Text} " + language.Say("復旧", "comes back"),
        TimelineKind.Log => entry.Text,
        TimelineKind.SilentCheck => language.Say("mf-smtp-server の再確認に失敗 (ログなし)", "recheck by mf-smtp-server failed (not logged)") + $": {entry.Text}",
        TimelineKind.ListedCheck => language.Say("mf-smtp-client の再確認に失敗 (ログなし)", "recheck by mf-smtp-client failed (not logged)") + $": {entry.Text}",
        TimelineKind.NoRoute => language.Say("550 5.1.2 で拒否", "refused with 550 5.1.2") + $": {entry.Text}",
        TimelineKind.Refused => language.Say("421 4.4.1 で拒否", "refused with 421 4.4.1") + $": {entry.Text}",
        TimelineKind.Queued => language.Say("受け付けてキューで待機 (確認リスト)", "accepted, waits in the queue (check list)") + $": {entry.Text}",
        TimelineKind.StillWaiting => language.Say("再送時刻、まだ確認リストにあるため待機", "retry is due, still on the check list, waits on") + $": {entry.Text}",
        TimelineKind.Deferred => language.Say("送信に失敗、再送待ち", "attempt failed, waits for its retry") + $": {entry.Text}",
        TimelineKind.Delivered => language.Say("受け付けて配送", "accepted and delivered") + $": {entry.Text}",
        TimelineKind.DeliveredLate => language.Say("再送で配送", "delivered by a retry") + $": {entry.Text} "
            + language.Say($"(最大遅延 {Duration.Format(entry.LongestDelay)})", $"(longest delay {Duration.Format(entry.LongestDelay)})"),
    };

    /// <summary>"02:00:12"; hours go on beyond 24.</summary>
    private static string Clock(TimeSpan time) =>
        string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours:00}:{time.Minutes:00}:{time.Seconds:00}");

    private static object ToJson(Timeline timeline, int hours) => new
    {
        Hours = hours,
        Timeline = timeline.Entries.Select(entry => new
        {
            From = Clock(entry.From),
            To = Clock(entry.To),
            entry.Count,
            entry.Kind,
            entry.Domain,
            entry.Text,
            LongestDelaySeconds = entry.Kind == TimelineKind.DeliveredLate ? (double?)entry.LongestDelay.TotalSeconds : null,
        }),
        Totals = new
        {
            timeline.Totals.Sent,
            timeline.Totals.Refused,
            timeline.Totals.Unroutable,
            timeline.Totals.Accepted,
            timeline.Totals.Delivered,
            timeline.Totals.Queued,
            LongestDelaySeconds = timeline.Totals.LongestDelay.TotalSeconds,
        },
    };

    private sealed record Wish(string[] Down, string[] Mail, int Hours);
}
