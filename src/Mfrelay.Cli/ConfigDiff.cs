using System.CommandLine;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay config show", and "mfrelay config diff": what a reload would change, in the settings and for the mail in the queue.</summary>
internal sealed class ConfigDiff(CommandContext context)
{
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command CreateShow()
    {
        var command = new Command("show", "Print every setting with the value in force, conf.d and defaults included.") { _config, _json };
        command.AddExamples(
            ("mfrelay config show", "is itself a config file"),
            ("mfrelay config show --json | jq -r '.\"server.listen\"'", "one of them"));
        command.SetAction(result =>
        {
            InvocationConfiguration console = result.InvocationConfiguration;
            if (CommandSupport.LoadSettings(result.GetRequiredValue(_config), console.Error) is not { } settings)
                return ConfigLoad.ExitCode;
            if (result.GetValue(_json))
                console.Output.WriteJson(ConfigText.Flat(settings));
            else
                console.Output.Write(ConfigText.Of(settings));
            return 0;
        });
        return command;
    }

    public Command CreateDiff()
    {
        var command = new Command("diff", "Compare the config with what the daemons run on (exit status 1: they differ, or none runs).") { _config, _json };
        command.AddExamples(
            ("mfrelay config diff", "what mfrelay reload would change"),
            ("mfrelay config diff && echo in force", "for a script"));
        command.SetAction((result, _) => DiffAsync(result.GetRequiredValue(_config), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private Task<int> DiffAsync(string config, bool asJson, InvocationConfiguration console) =>
        context.WithStoreAsync(config, console, async (settings, store, language) =>
        {
            RunningDaemon[] running = [.. RunningDaemon.All(settings.RunDirectory)];
            if (running.Length == 0)
            {
                console.Error.Line(language.Say("mfrelay: どちらのデーモンも動作していません", "mfrelay: neither daemon runs"));
                return CommandSupport.Failed;
            }
            foreach (RunningDaemon unknown in running.Where(daemon => daemon.Settings is null))
            {
                console.Error.Line(language.Say(
                    $"mfrelay: {unknown.Name} ({unknown.Version}) が使用中の設定を読み取れません。再起動してください (systemctl restart {unknown.Name})",
                    $"mfrelay: what {unknown.Name} ({unknown.Version}) runs on cannot be read; restart it (systemctl restart {unknown.Name})"));
            }
            (string Daemon, Change[] Changes)[] all = [.. running.Where(daemon => daemon.Settings is not null).Select(daemon => (daemon.Name, Changes(daemon.Settings!, settings)))];
            (int moved, int lost) = Array.Find(running, daemon => daemon.Is(RunningDaemon.Client)) is { Settings: { } before }
                ? await MovedAsync(store, new RouteTable(before.MailServers), new RouteTable(settings.MailServers), language, console.Error)
                : default;
            if (asJson)
            {
                console.Output.WriteJson(new
                {
                    Daemons = all.Select(item => new { Name = item.Daemon, item.Changes }),
                    QueuedDeliveriesToMove = moved,
                    QueuedDeliveriesToLoseTheirRoute = lost,
                });
            }
            else
            {
                Print(all, language, console.Output);
                console.Output.Line(language.Say($"経路が変わるキュー内の配送: {moved} 件", $"queued deliveries that would change route: {moved}"));
                console.Output.Line(language.Say($"経路がなくなるキュー内の配送: {lost} 件", $"queued deliveries that would have no mail server: {lost}"));
            }
            return all.Length == running.Length && all.All(item => item.Changes.Length == 0) ? 0 : CommandSupport.Failed;
        });

    private static void Print((string Daemon, Change[] Changes)[] all, Language language, TextWriter output)
    {
        foreach ((string daemon, Change[] changes) in all)
        {
            output.WriteLine(changes.Length > 0 ? $"{daemon}:" : language.Say($"{daemon}: 差異なし", $"{daemon}: no difference"));
            foreach (Change change in changes)
            {
                if (change.Running is not null)
                    output.WriteLine($"- {change.Key} = {change.Running}");
                if (change.File is not null)
                    output.WriteLine($"+ {change.Key} = {change.File}");
            }
        }
    }

    private static Change[] Changes(Settings running, Settings file)
    {
        IReadOnlyDictionary<string, string> before = ConfigText.Flat(running);
        IReadOnlyDictionary<string, string> after = ConfigText.Flat(file);
        // Of a mail server that comes or goes, what somebody has written.
        HashSet<string> written = [.. ConfigText.Flat(running, withDefaults: false).Keys, .. ConfigText.Flat(file, withDefaults: false).Keys];
        return [.. before.Keys.Union(after.Keys, StringComparer.Ordinal)
            .Select(key => new Change(key, before.GetValueOrDefault(key), after.GetValueOrDefault(key)))
            .Where(change => !string.Equals(change.Running, change.File, StringComparison.Ordinal)
                && (change is { Running: not null, File: not null } || written.Contains(change.Key)))];
    }

    private async Task<(int Moved, int Lost)> MovedAsync(QueueStore store, RouteTable before, RouteTable after, Language language, TextWriter error)
    {
        (int moved, int lost) = (0, 0);
        await foreach (Delivery row in new QueueRows(store, new Progress(error, context.Time, language.Say("集計中", "counting"))).ReadAsync())
        {
            if (row.Recipients.Any(recipient => !string.Equals(before.NameFor(recipient.ForwardPath), after.NameFor(recipient.ForwardPath), StringComparison.Ordinal)))
                moved++;
            if (row.Recipients.Any(recipient => before.ForAddress(recipient.ForwardPath) is not null && after.ForAddress(recipient.ForwardPath) is null))
                lost++;
        }
        return (moved, lost);
    }

    /// <param name="Running">Null: the daemon does not have it.</param>
    /// <param name="File">Null: the file does not have it.</param>
    private sealed record Change(string Key, string? Running, string? File);
}
