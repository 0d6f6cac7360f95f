using System.CommandLine;
using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay status": one screen. "mfrelay version": of this program and of the daemons that run.</summary>
internal sealed class StatusCommand(CommandContext context)
{
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command CreateStatus()
    {
        var command = new Command("status", "Show daemons, rates, queue, mail servers and alerts on one screen (exit status 1: a daemon does not run).") { _config, _json };
        command.AddExamples(
            ("mfrelay status", "is all well?"),
            ("mfrelay top", "and does it stay so?"),
            ("mfrelay status --json | jq .queue.deliveries", "for a program"));
        command.SetAction((result, _) => StatusAsync(result.GetRequiredValue(_config), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    public Command CreateVersion()
    {
        var command = new Command("version", "Show the version of this program and of the daemons that run (exit status 1: they differ).") { _config, _json };
        command.AddExamples(("mfrelay version", "after an upgrade: does everything run the new one?"), ("mfrelay version --json", "for a program"));
        command.SetAction(result => Version(result.GetRequiredValue(_config), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private Task<int> StatusAsync(string config, bool asJson, InvocationConfiguration console) =>
        context.WithStoreAsync(config, console, async (settings, store, language) =>
        {
            Overview all = await Overview.ReadAsync(store, settings, language, console.Error, context.Time);
            if (asJson)
                console.Output.WriteJson(all.ToJson());
            else
                Print(all, language, console.Output);
            return all.DoBothRun ? 0 : CommandSupport.Failed;
        });

    private static void Print(Overview all, Language language, TextWriter output)
    {
        var table = new TextTable("", "");
        foreach (Overview.Daemon daemon in all.Daemons)
            table.Add(daemon.Name, DaemonCell(daemon, all.Now, language));
        AddRates(table, all, language);
        table.Add(language.Say("キュー", "queue"), all.Deliveries == 0
            ? language.Say("空", "empty")
            : language.Say(
                $"{QueueCommand.Number(all.Deliveries)} 件, {QueueCommand.Octets(all.Octets)}, 保留 {QueueCommand.Number(all.Held)}, 最古 {CommandSupport.Age(all.Now - all.Oldest)}",
                $"{QueueCommand.Number(all.Deliveries)}, {QueueCommand.Octets(all.Octets)}, {QueueCommand.Number(all.Held)} held, oldest {CommandSupport.Age(all.Now - all.Oldest)}"));
        AddHealth(table, all, language, most: 20);
        AddAlerts(table, all, language);
        table.Write(output);
    }

    internal static TextTable.Cell DaemonCell(Overview.Daemon daemon, DateTimeOffset now, Language language)
    {
        if (daemon.Running is not { } running)
            return new TextTable.Cell(language.Say("停止", "not running"), IsBad: true);
        string since = "";
        if (daemon.Figures is { } figures)
        {
            string age = CommandSupport.Age(now - figures.Started), kind = running.Is(RunningDaemon.Server) ? "connections" : "sessions";
            since = language.Say($", 起動から {age}, 接続 {figures.Sessions}", $", up {age}, {figures.Sessions} {kind}");
        }
        string what = $"(pid {running.Pid}, {running.Version}{since})";
        return language.Say($"動作中 {what}", $"running {what}");
    }

    private static void AddRates(TextTable table, Overview all, Language language)
    {
        string[] rates = [.. new[] { Figure.Accepted, Figure.Delivered, Figure.Deferred, Figure.Failed, Figure.Refused }
            .Select(all.Of).OfType<Figure>()
            .Select(figure => $"{Word(figure.Name, language)} {Number(figure.PerMinute)}/{Number(figure.PerMinuteOfFive)}")];
        if (rates.Length > 0)
            table.Add(language.Say("毎分 (1分/5分)", "per minute (1m/5m)"), string.Join(", ", rates));
    }

    /// <summary>What a figure counts.</summary>
    internal static string Word(string figure, Language language) => figure switch
    {
        Figure.Accepted => language.Say("受け付け", "accepted"),
        Figure.Refused => language.Say("拒否", "refused"),
        Figure.Delivered => language.Say("送信", "delivered"),
        Figure.Deferred => language.Say("延期", "deferred"),
        Figure.Failed => language.Say("失敗", "failed"),
        _ => figure,
    };

    internal static void AddHealth(TextTable table, Overview all, Language language, int most)
    {
        MailServerHealth[] down = [.. all.Down];
        int unreached = down.Count(row => row.Owner == HealthOwner.Server);
        table.Add(language.Say("メールサーバー", "mail servers"), new TextTable.Cell(
            language.Say($"{all.Settings.MailServers.Count} 登録, {unreached} 接続不可, {down.Length - unreached} 確認リスト, {all.Drains.Count} 停止中",
                $"{all.Settings.MailServers.Count} registered, {unreached} not reached, {down.Length - unreached} on the check list, {all.Drains.Count} drained"),
            IsBad: down.Length > 0));
        foreach (MailServerHealth row in down.Take(most))
        {
            table.Add("", new TextTable.Cell(
                $"{row.Address} {row.Domain} ({(row.Owner == HealthOwner.Server ? "mf-smtp-server" : "mf-smtp-client")}, {CommandSupport.Age(all.Now - row.Since)}): {row.LastError}",
                IsBad: true));
        }
    }

    internal static void AddAlerts(TextTable table, Overview all, Language language)
    {
        RaisedAlert[] alerts = [.. all.Alerts];
        if (alerts.Length == 0)
        {
            table.Add(language.Say("アラート", "alerts"),
                all.Settings.Alert.IsOn ? language.Say("なし", "none") : language.Say("なし ([alert] の設定なし)", "none ([alert] has no rule)"));
        }
        for (int i = 0; i < alerts.Length; i++)
        {
            RaisedAlert alert = alerts[i];
            string text = $"{alert.Rule} {alert.Subject} {alert.Value} ({CommandSupport.Age(all.Now - alert.Since)})";
            table.Add(i == 0 ? language.Say("アラート", "alerts") : "", new TextTable.Cell(text, IsBad: true));
        }
    }

    /// <summary>As much of a rate as one wants to know.</summary>
    internal static string Number(double rate) =>
        rate >= 10 || rate == Math.Floor(rate) ? QueueCommand.Number((long)Math.Round(rate)) : rate.ToString("0.0", CultureInfo.InvariantCulture);

    private int Version(string config, bool asJson, InvocationConfiguration console)
    {
        // Without a config there is still an answer.
        if (ConfigFile.Load(config).Settings is not { } settings)
            return PrintVersions([], asJson, console);
        int rights = StateAccess.WithDaemons(settings, context.LanguageOf(settings), console.Error, () => 0);
        int exit = PrintVersions([.. RunningDaemon.All(settings.RunDirectory)], asJson, console);
        return rights != 0 ? rights : exit;
    }

    private static int PrintVersions(RunningDaemon[] running, bool asJson, InvocationConfiguration console)
    {
        string own = RunningDaemon.OwnVersion;
        if (asJson)
        {
            console.Output.WriteJson(new { Mfrelay = own, Format = StateDirectory.Version, Running = running.Select(daemon => new { daemon.Name, daemon.Pid, daemon.Version }) });
        }
        else
        {
            console.Output.WriteLine($"mfrelay {own}");
            foreach (RunningDaemon daemon in running)
                console.Output.WriteLine($"{daemon.Name} {daemon.Version} (pid {daemon.Pid})");
        }
        return running.All(daemon => daemon.IsOwnVersion) ? 0 : CommandSupport.Failed;
    }
}
