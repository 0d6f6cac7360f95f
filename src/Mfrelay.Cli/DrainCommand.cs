using System.CommandLine;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay drain SERVER": keeps mail off a mail server that is to be worked on. "mfrelay resume SERVER" ends it.</summary>
internal sealed class DrainCommand(CommandContext context)
{
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command CreateDrain()
    {
        var server = new Argument<string?>("SERVER") { Description = "host, host:port or domain; none: show what is drained.", Arity = ArgumentArity.ZeroOrOne };
        var span = new Option<TimeSpan>("--for") { Description = "Ends by itself after so long: 30m, 2h.", HelpName = "TIME", CustomParser = context.DurationOf };
        var reason = new Option<string>("--reason") { Description = "For the log and for whoever looks.", HelpName = "TEXT", DefaultValueFactory = _ => "" };
        var command = new Command("drain", "Send nothing through a mail server until it is resumed; its mail goes to the others of its domain, or waits.")
        {
            server,
            span,
            reason,
            _config,
            _json,
        };
        command.AddExamples(
            ("mfrelay drain 192.0.2.1 --for 2h --reason 'new disks'", "all entries with this host"),
            ("mfrelay drain", "what is drained now"),
            ("mfrelay resume 192.0.2.1", "ends it"));
        command.SetAction((result, _) => DrainAsync(result.GetRequiredValue(_config), result.GetValue(server), result.GetValue(span),
            result.GetRequiredValue(reason), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    public Command CreateResume()
    {
        var server = new Argument<string>("SERVER") { Description = "host, host:port or domain." };
        var command = new Command("resume", "End a drain; mail waits for its next attempt as after the check list (exit status 1: nothing was drained).")
        {
            server,
            _config,
        };
        command.AddExamples(
            ("mfrelay resume 192.0.2.1", "mail can be sent through it again"),
            ("mfrelay queue flush --domain example.com", "and is tried now"));
        command.SetAction((result, _) => ResumeAsync(result.GetRequiredValue(_config), result.GetRequiredValue(server), result.InvocationConfiguration));
        return command;
    }

    private Task<int> DrainAsync(string config, string? name, TimeSpan span, string reason, bool asJson, InvocationConfiguration console) =>
        context.WithStoreAsync(config, console, async (settings, store, language) =>
        {
            DateTimeOffset now = context.Time.GetUtcNow();
            if (name is null)
            {
                Show(await store.RunAsync(table => table.Drains), now, asJson, language, console);
                return 0;
            }
            RunningDaemon.RequireSameVersion(settings.RunDirectory, language);
            MailServer[] servers = [.. settings.MailServers.Where(server => server.IsCalled(name))];
            if (servers.Length == 0 || servers.Any(server => server.IsMx))
            {
                console.Error.Line(servers.Length == 0
                    ? language.Say($"mfrelay: {name} というメールサーバーは登録されていません", $"mfrelay: no mail server is called {name}; mfrelay health shows them")
                    : language.Say($"mfrelay: {name} は host = \"mx\" のため停止できません", $"mfrelay: {name} has host = \"mx\", which cannot be drained"));
                return CommandSupport.Failed;
            }
            DateTimeOffset until = span > TimeSpan.Zero ? now + span : DateTimeOffset.MaxValue;
            Drain[] added = [.. servers.Select(server => new Drain(server.Key, now, until, reason))];
            IReadOnlyList<Drain> all = await store.RunAsync(table =>
            {
                Drain[] drains = [.. Present(table, now).ExceptBy(added.Select(drain => drain.Key), drain => drain.Key, StringComparer.Ordinal), .. added];
                table.SetDrains(drains);
                return drains;
            });
            Wake(settings);
            Show(all, now, asJson, language, console);
            return 0;
        });

    private Task<int> ResumeAsync(string config, string name, InvocationConfiguration console) =>
        context.WithStoreAsync(config, console, async (settings, store, language) =>
        {
            RunningDaemon.RequireSameVersion(settings.RunDirectory, language);
            DateTimeOffset now = context.Time.GetUtcNow();
            int ended = await store.RunAsync(table =>
            {
                Drain[] before = [.. Present(table, now)];
                // Not by the config, which it may have left since.
                Drain[] after = [.. before.Where(drain => !IsCalled(drain, name))];
                if (after.Length < before.Length)
                    table.SetDrains(after);
                return before.Length - after.Length;
            });
            Wake(settings);
            if (ended == 0)
            {
                console.Error.Line(language.Say($"mfrelay: {name} は停止されていません", $"mfrelay: {name} is not drained"));
                return CommandSupport.Failed;
            }
            console.Output.Line(language.Say($"{name} への送信を再開します", $"{name} resumed"));
            return 0;
        });

    private static IEnumerable<Drain> Present(QueueTable table, DateTimeOffset now) => table.Drains.Where(drain => drain.Until > now);

    /// <summary>As <see cref="CommandSupport.IsCalled"/>, of "example.com 192.0.2.1:25".</summary>
    private static bool IsCalled(Drain drain, string name) =>
        drain.Key.Split(' ').Prepend(drain.Key).Contains(name, StringComparer.OrdinalIgnoreCase)
        || drain.Key.Contains($" {MailServer.AddressOf(name, 0)[..^1]}", StringComparison.OrdinalIgnoreCase);

    private static void Wake(Settings settings)
    {
        using var wake = WakeSocket.To(settings.RunDirectory, WakeSocket.ClientName);
        wake.Wake();
    }

    private static void Show(IReadOnlyList<Drain> all, DateTimeOffset now, bool asJson, Language language, InvocationConfiguration console)
    {
        Drain[] drains = [.. all.Where(drain => drain.Until > now)];
        if (asJson)
        {
            console.Output.WriteJson(drains.Select(drain => new { MailServer = drain.Key, drain.Since, Until = drain.Until.Known(), drain.Reason }));
            return;
        }
        if (drains.Length == 0)
        {
            console.Output.WriteLine(language.Say("停止中のメールサーバーはありません", "nothing is drained"));
            return;
        }
        TextTable table = language == Language.Ja
            ? new TextTable("メールサーバー", "経過", "残り", "理由")
            : new TextTable("DRAINED", "FOR", "ENDS IN", "REASON");
        foreach (Drain drain in drains)
        {
            table.Add(drain.Key, CommandSupport.Age(now - drain.Since), drain.Until.Known() is { } until ? CommandSupport.Age(until - now) : "-",
                drain.Reason.Length == 0 ? "-" : drain.Reason);
        }
        table.Write(console.Output);
    }
}
