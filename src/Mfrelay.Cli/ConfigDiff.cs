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
            (string Daemon, Change[] Changes)[] all = [.. running.Select(daemon => (daemon.Name, Changes(daemon, settings)))];
            int moved = Array.Find(running, daemon => daemon.Is(RunningDaemon.Client)) is { Settings: { } before }
                ? await MovedAsync(store, new RouteTable(before.MailServers), new RouteTable(settings.MailServers), language, console.Error)
                : 0;
            bool differs = all.Any(item => item.Changes.Length > 0);
            if (asJson)
                console.Output.WriteJson(new { Daemons = all.Select(item => new { Name = item.Daemon, item.Changes }), QueuedDeliveriesToMove = moved });
            else
                Print(all, moved, language, console.Output);
            return differs ? CommandSupport.Failed : 0;
        });

    private static void Print((string Daemon, Change[] Changes)[] all, int moved, Language language, TextWriter output)
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
        output.WriteLine(language.Say($"経路が変わるキュー内の配送: {moved} 件", $"queued deliveries that would change route: {moved}"));
    }

    private static Change[] Changes(RunningDaemon daemon, Settings settings)
    {
        if (daemon.Settings is null)
            return [];
        IReadOnlyDictionary<string, string> before = ConfigText.Flat(daemon.Settings);
        IReadOnlyDictionary<string, string> after = ConfigText.Flat(settings);
        return [.. before.Keys.Union(after.Keys, StringComparer.Ordinal)
            .Select(key => new Change(key, before.GetValueOrDefault(key), after.GetValueOrDefault(key)))
            .Where(change => !string.Equals(change.Running, change.File, StringComparison.Ordinal))];
    }

    private async Task<int> MovedAsync(QueueStore store, RouteTable before, RouteTable after, Language language, TextWriter error)
    {
        int moved = 0;
        await foreach (Delivery row in new QueueRows(store, new Progress(error, context.Time, language.Say("集計中", "counting"))).ReadAsync())
        {
            if (row.Recipients.Any(recipient => !string.Equals(before.NameFor(recipient.ForwardPath), after.NameFor(recipient.ForwardPath), StringComparison.Ordinal)))
                moved++;
        }
        return moved;
    }

    /// <param name="Running">Null: the daemon does not have it.</param>
    /// <param name="File">Null: the file does not have it.</param>
    private sealed record Change(string Key, string? Running, string? File);
}
