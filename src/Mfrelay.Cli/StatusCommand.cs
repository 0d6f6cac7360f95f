using System.CommandLine;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay status": one screen. "mfrelay version": of this program and of the daemons that run.</summary>
internal sealed class StatusCommand(CommandContext context)
{
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command CreateStatus()
    {
        var command = new Command("status", "Show daemons, queue and mail servers on one screen (exit status 1: a daemon does not run).") { _config, _json };
        command.AddExamples(
            ("mfrelay status", "is all well?"),
            ("watch mfrelay status", "and does it stay so?"),
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
            DateTimeOffset now = context.Time.GetUtcNow();
            RunningDaemon[] running = [.. RunningDaemon.All(settings.RunDirectory)];
            (QueueSummary queue, IReadOnlyList<MailServerHealth> health) = await QueueCommand.ReadAsync(store, settings, language, console.Error, context.Time);
            Drain[] drains = [.. (await store.RunAsync(table => table.Drains)).Where(drain => drain.Until > now)];
            MailServerHealth[] bad = [.. health.Where(row => row.State == HealthState.Down)];
            if (asJson)
            {
                console.Output.WriteJson(new
                {
                    Daemons = RunningDaemon.Names.Select(name => new
                    {
                        Name = name,
                        Array.Find(running, daemon => daemon.Is(name))?.Pid,
                        Array.Find(running, daemon => daemon.Is(name))?.Version,
                    }),
                    Queue = new
                    {
                        queue.Time,
                        Deliveries = queue.Routes.Sum(route => route.Count),
                        Octets = queue.Routes.Sum(route => route.Octets),
                        Held = queue.Routes.Sum(route => route.Held),
                        Active = queue.Routes.Sum(route => route.Active),
                        Oldest = Oldest(queue).Known(),
                    },
                    MailServers = settings.MailServers.Count,
                    Down = bad.Select(row => new { Process = row.Owner, MailServer = row.Address, row.Domain, row.Since, row.LastError }),
                    Drained = drains.Select(drain => drain.Key),
                });
            }
            else
            {
                Print(settings, running, queue, bad, drains, now, language, console.Output);
            }
            return running.Length == RunningDaemon.Names.Count ? 0 : CommandSupport.Failed;
        });

    private static DateTimeOffset Oldest(QueueSummary queue) =>
        queue.Routes.Select(route => route.Oldest).DefaultIfEmpty(DateTimeOffset.MaxValue).Min();

    private static void Print(Settings settings, RunningDaemon[] running, QueueSummary queue, MailServerHealth[] bad, Drain[] drains, DateTimeOffset now,
        Language language, TextWriter output)
    {
        var table = new TextTable("", "");
        foreach (string name in RunningDaemon.Names)
        {
            RunningDaemon? daemon = Array.Find(running, daemon => daemon.Is(name));
            table.Add(name, new TextTable.Cell(
                daemon is null
                    ? language.Say("停止", "not running")
                    : language.Say($"動作中 (pid {daemon.Pid}, {daemon.Version})", $"running (pid {daemon.Pid}, {daemon.Version})"),
                IsBad: daemon is null));
        }
        int count = queue.Routes.Sum(route => route.Count);
        table.Add(language.Say("キュー", "queue"), count == 0
            ? language.Say("空", "empty")
            : language.Say(
                $"{QueueCommand.Number(count)} 件, {QueueCommand.Octets(queue.Routes.Sum(route => route.Octets))}, 保留 {Held(queue)}, 最古 {CommandSupport.Age(now - Oldest(queue))}",
                $"{QueueCommand.Number(count)}, {QueueCommand.Octets(queue.Routes.Sum(route => route.Octets))}, {Held(queue)} held, oldest {CommandSupport.Age(now - Oldest(queue))}"));
        table.Add(language.Say("メールサーバー", "mail servers"), new TextTable.Cell(
            language.Say($"{settings.MailServers.Count} 登録, {bad.Length} 件の接続不可, {drains.Length} 停止中",
                $"{settings.MailServers.Count} registered, {bad.Length} views down, {drains.Length} drained"),
            IsBad: bad.Length > 0));
        foreach (MailServerHealth row in bad.Take(20))
        {
            table.Add("", new TextTable.Cell(
                $"{row.Address} {row.Domain} ({(row.Owner == HealthOwner.Server ? "mf-smtp-server" : "mf-smtp-client")}, {CommandSupport.Age(now - row.Since)}): {row.LastError}",
                IsBad: true));
        }
        table.Write(output);
    }

    private static string Held(QueueSummary queue) => QueueCommand.Number(queue.Routes.Sum(route => route.Held));

    private static int Version(string config, bool asJson, InvocationConfiguration console)
    {
        string own = RunningDaemon.OwnVersion;
        // Without a config there is still an answer.
        RunningDaemon[] running = ConfigFile.Load(config).Settings is { } settings ? [.. RunningDaemon.All(settings.RunDirectory)] : [];
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
