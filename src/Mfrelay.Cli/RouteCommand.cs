using System.CommandLine;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay route": where mail for an address would go now and what its sender would be told, without sending any.</summary>
internal sealed class RouteCommand(CommandContext context)
{
    private readonly Argument<string> _address = new("ADDRESS") { Description = "The recipient." };
    private readonly Option<string?> _from = new("--from") { Description = "The sender: its own domain may be down too.", HelpName = "ADDRESS" };
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command Create()
    {
        var command = new Command("route", "Show which way mail for an address takes and which reply its sender would get now (exit status 0: accepted, 1: refused).")
        {
            _address,
            _from,
            _config,
            _json,
        };
        command.AddExamples(
            ("mfrelay route user@example.com", "route, mail servers, reply"),
            ("mfrelay route user@example.com --from boss@example.org", "with a sender whose domain may be registered"),
            ("mfrelay route user@example.com --json | jq -r .reply.code", "250, 421 or 550"));
        command.SetAction((result, _) => RunAsync(
            result.GetRequiredValue(_address), result.GetValue(_from), result.GetRequiredValue(_config), result.GetValue(_json),
            result.InvocationConfiguration));
        return command;
    }

    private async Task<int> RunAsync(string address, string? from, string config, bool asJson, InvocationConfiguration console)
    {
        if (CommandSupport.LoadSettings(config, console.Error) is not { } settings)
            return ConfigLoad.ExitCode;
        Language language = context.LanguageOf(settings);
        return await StateAccess.WithStoreAsync(settings, language, console.Error, context.Time, async store =>
        {
            IReadOnlyList<MailServerHealth> health = await store.RunAsync(table => table.ReadHealth());
            DryRun run = DryRun.Of(address, from, settings, new HealthViews(health));
            if (asJson)
                console.Output.WriteJson(run.ToJson());
            else
                Print(run, settings, language, console.Output);
            return run.Reply == DryRunReply.Accepted ? 0 : CommandSupport.Failed;
        });
    }

    private static void Print(DryRun run, Settings settings, Language language, TextWriter output)
    {
        var table = new TextTable("", "");
        table.Add(language.Say("受信者", "recipient"), run.Recipient);
        table.Add(language.Say("経路", "route"), run.Route?.Name ?? language.Say("なし", "none"));
        if (run.Route is not null)
        {
            table.Add(language.Say("最大サイズ", "largest message"), ByteSize.Format(Math.Min(run.SizeLimit, settings.Server.MaxMessageSize)));
            table.Add("when_down", run.Route.MailServers.Any(server => server.WhenDown == WhenDown.Queue) ? "queue" : "refuse");
            table.Add(language.Say("送信の順番", "next"), language.Say(
                $"{run.Route.MailServers[0].Address} (順番の先頭。現在の順番は mf-smtp-client だけが知っています)",
                $"{run.Route.MailServers[0].Address} (first of the rotation; whose turn it is now, only the running mf-smtp-client knows)"));
        }
        if (run.From is not null)
            table.Add(language.Say("送信者", "sender"), $"{run.From} ({SenderText(run, language)})");
        table.Add(language.Say("応答", "reply"), ReplyText(run.Reply, language));
        table.Write(output);
        if (run.Route is null)
            return;
        output.WriteLine();
        var servers = language == Language.Ja
            ? new TextTable("メールサーバー", "サーバー側", "クライアント側", "when_down", "最後のエラー")
            : new TextTable("MAIL SERVER", "SERVER", "CLIENT", "WHEN_DOWN", "LAST ERROR");
        foreach (MailServer server in run.Route.MailServers)
        {
            MailServerHealth? serverView = run.Views.Of(HealthOwner.Server, server);
            MailServerHealth? clientView = run.Views.Of(HealthOwner.Client, server);
            string[] errors = [serverView?.LastError ?? "", clientView?.LastError ?? ""];
            servers.Add(
                server.Address,
                new TextTable.Cell(HealthCommand.ServerState(serverView, language), serverView is null or { State: not HealthState.Reached }),
                new TextTable.Cell(HealthCommand.ClientState(clientView, language), clientView is { State: HealthState.Down }),
                server.WhenDown == WhenDown.Queue ? "queue" : "refuse",
                errors.FirstOrDefault(error => error.Length > 0, "-"));
        }
        servers.Write(output);
    }

    private static string SenderText(DryRun run, Language language) =>
        run.SenderRoute is null ? language.Say("登録されていないドメイン: 影響しません", "its domain is not registered: does not count")
        : run.Reply == DryRunReply.SenderDown ? language.Say($"経路 {run.SenderRoute.Name}: 接続不可", $"route {run.SenderRoute.Name}: not reached")
        : language.Say($"経路 {run.SenderRoute.Name}: 問題なし", $"route {run.SenderRoute.Name}: no objection");

    private static string ReplyText(DryRunReply reply, Language language) => reply switch
    {
        DryRunReply.Accepted => language.Say("250 2.1.5 (受け付けます)", "250 2.1.5 (accepted)"),
        DryRunReply.NoRoute => language.Say("550 5.1.2 (メールサーバーが登録されていないドメインです)", "550 5.1.2 (no mail server is registered for this domain)"),
        DryRunReply.RecipientDown => language.Say("RCPT に 421 4.4.1 (どのメールサーバーにも接続できません)", "421 4.4.1 at RCPT (none of its mail servers is reached)"),
        DryRunReply.SenderDown => language.Say("MAIL に 421 4.4.1 (送信者のドメインのメールサーバーに接続できません)", "421 4.4.1 at MAIL (none of the mail servers of the sender's domain is reached)"),
    };
}

internal enum DryRunReply
{
    Accepted,
    NoRoute,
    RecipientDown,
    SenderDown,
}

/// <summary>What mf-smtp-server would decide, from the config and what the health table says of its view (S7, S8, S11, S12).</summary>
/// <param name="SenderRoute">Null: the sender's domain does not count.</param>
/// <param name="SizeLimit">long.MaxValue: no mail server of the route announced one.</param>
internal sealed record DryRun(
    string Recipient, string? From, Route? Route, Route? SenderRoute, DryRunReply Reply, long SizeLimit, HealthViews Views)
{
    public static DryRun Of(string recipient, string? from, Settings settings, HealthViews views)
    {
        var routes = new RouteTable(settings.MailServers);
        MailServerHealth? View(MailServer server) => views.Of(HealthOwner.Server, server);
        HealthState State(MailServer server) => View(server)?.State ?? HealthState.Unknown;
        Route? route = routes.ForAddress(recipient);
        Route? sender = from is { Length: > 0 } && routes.ForAddress(from) is { } found && RoutePolicy.CountsForSender(found) ? found : null;
        DryRunReply reply =
            sender is not null && RoutePolicy.Refuses(sender, State) ? DryRunReply.SenderDown // MAIL comes before RCPT
            : route is null ? DryRunReply.NoRoute
            : RoutePolicy.Refuses(route, State) ? DryRunReply.RecipientDown
            : DryRunReply.Accepted;
        return new DryRun(recipient, from, route, sender, reply, route is null ? long.MaxValue : RoutePolicy.SizeLimit(route, View), views);
    }

    public object ToJson() => new
    {
        Recipient,
        From,
        Route = Route?.Name,
        SenderRoute = SenderRoute?.Name,
        Reply = new
        {
            Code = Reply switch { DryRunReply.Accepted => 250, DryRunReply.NoRoute => 550, _ => 421 },
            Status = Reply switch { DryRunReply.Accepted => "2.1.5", DryRunReply.NoRoute => "5.1.2", _ => "4.4.1" },
            Reason = Reply,
        },
        SizeLimit = SizeLimit == long.MaxValue ? null : (long?)SizeLimit,
        FirstOfRotation = Route?.MailServers[0].Address,
        MailServers = Route?.MailServers.Select(server => new
        {
            server.Address,
            ServerState = Views.Of(HealthOwner.Server, server)?.State ?? HealthState.Unknown,
            ClientState = Views.Of(HealthOwner.Client, server)?.State ?? HealthState.Unknown,
            server.WhenDown,
        }),
    };
}
