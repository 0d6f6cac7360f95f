using System.CommandLine;
using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay health": the mail servers as both processes see them, and the mail that waits for them.</summary>
internal sealed class HealthCommand(CommandContext context)
{
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command Create()
    {
        var command = new Command("health", "Show the mail servers as mf-smtp-server and mf-smtp-client see them, and the mail that waits.")
        {
            _config,
            _json,
            new HealthCheckCommand(context).Create(),
        };
        command.AddExamples(
            ("mfrelay health", "a line for each mail server"),
            ("mfrelay health --json | jq '.[] | select(.server.state != \"reached\")'", "those that the server does not reach"),
            ("mfrelay health check", "checks all of them now"));
        command.SetAction((result, _) => RunAsync(
            result.GetRequiredValue(_config), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private Task<int> RunAsync(string config, bool asJson, InvocationConfiguration console) =>
        context.WithStoreAsync(config, console, async (settings, store, language) =>
        {
            (QueueSummary queue, IReadOnlyList<MailServerHealth> health) =
                await QueueCommand.ReadAsync(store, settings, language, console.Error, context.Time);
            HealthRow[] rows = [.. HealthRow.Of(settings, health, queue)];
            if (asJson)
                console.Output.WriteJson(rows.Select(row => row.ToJson()));
            else
                Table(rows, language).Write(console.Output);
            return 0;
        });

    private TextTable Table(IEnumerable<HealthRow> rows, Language language)
    {
        DateTimeOffset now = context.Time.GetUtcNow();
        var table = language == Language.Ja
            ? new TextTable("ドメイン", "メールサーバー", "サーバー側", "クライアント側", "状態の継続", "最終確認", "次回確認", "失敗", "待機", "最古", "SIZE", "TLS", "証明書期限", "最終送信", "最後のエラー")
            : new TextTable("DOMAIN", "MAIL SERVER", "SERVER", "CLIENT", "FOR", "CHECKED", "NEXT", "FAILURES", "WAITING", "OLDEST", "SIZE", "TLS", "CERT UNTIL", "DELIVERED", "LAST ERROR");
        foreach (HealthRow row in rows)
        {
            MailServerHealth? server = row.Server;
            MailServerHealth? worst = row.Worst;
            table.Add(
                row.Domain,
                row.Address ?? language.Say("(登録なし)", "(not registered)"),
                new TextTable.Cell(ServerState(server, language), server is null or { State: not HealthState.Reached }),
                new TextTable.Cell(ClientState(row.Client, language), row.Client is { State: HealthState.Down }),
                Since(worst?.Since, now),
                Since(server?.LastCheck, now),
                Until(worst?.NextCheck, now),
                (worst?.Failures ?? 0).ToString(CultureInfo.InvariantCulture),
                (row.Waiting?.Count ?? 0).ToString(CultureInfo.InvariantCulture),
                Since(row.Waiting?.Oldest, now),
                server is { Announced.SizeLimit: > 0 and var size } ? ByteSize.Format(size) : "-",
                server is { Announced.Tls.Length: > 0 } ? server.Announced.Tls : "-",
                server?.Announced.CertificateExpiry.Known() is { } expiry ? expiry.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture) : "-",
                Since(row.Client?.LastDelivery, now),
                worst is { LastError.Length: > 0 } ? worst.LastError : "-");
        }
        return table;
    }

    public static string ServerState(MailServerHealth? health, Language language) => (health?.State ?? HealthState.Unknown) switch
    {
        HealthState.Reached => language.Say("接続可", "reached"),
        HealthState.Down => language.Say("接続不可", "down"),
        HealthState.Unknown => language.Say("未確認", "not checked"),
    };

    public static string ClientState(MailServerHealth? health, Language language) =>
        health is { State: HealthState.Down } ? language.Say("確認リスト", "check list") : language.Say("正常", "ok");

    private static string Since(DateTimeOffset? time, DateTimeOffset now) =>
        time?.Known() is { } known ? CommandSupport.Age(now - known) : "-";

    private static string Until(DateTimeOffset? time, DateTimeOffset now) =>
        time?.Known() is { } known ? CommandSupport.Age(known - now) : "-";
}

/// <summary>The rows of the health table by mail server.</summary>
internal sealed class HealthViews(IEnumerable<MailServerHealth> rows)
{
    private readonly Dictionary<string, MailServerHealth>[] _byOwner = [.. Enum.GetValues<HealthOwner>().Select(owner => ByKey(rows, owner))];

    /// <summary>Null: that process has no row for it.</summary>
    public MailServerHealth? Of(HealthOwner owner, MailServer server) => _byOwner[(int)owner].GetValueOrDefault(server.Key);

    private static Dictionary<string, MailServerHealth> ByKey(IEnumerable<MailServerHealth> rows, HealthOwner owner)
    {
        var byKey = new Dictionary<string, MailServerHealth>(StringComparer.OrdinalIgnoreCase);
        foreach (MailServerHealth row in rows.Where(row => row.Owner == owner))
            byKey.TryAdd(row.Key, row);
        return byKey;
    }
}

/// <summary>A mail server in both views.</summary>
/// <param name="Address">Null: mail waits for a route that has left the config.</param>
/// <param name="Waiting">Null when there is nothing. For its route, since the rotation picks a mail server only when a message is due (C9).</param>
internal sealed record HealthRow(string Domain, string? Address, MailServerHealth? Server, MailServerHealth? Client, RouteSummary? Waiting)
{
    /// <summary>The view that an operator has to look at.</summary>
    public MailServerHealth? Worst => Client is { State: HealthState.Down } && Server is not { State: HealthState.Down } ? Client : Server ?? Client;

    /// <summary>In the order of the config; then routes that are no longer in it and still have mail.</summary>
    public static IEnumerable<HealthRow> Of(Settings settings, IReadOnlyList<MailServerHealth> health, QueueSummary queue)
    {
        Dictionary<string, RouteSummary> waiting = queue.Routes.ToDictionary(route => route.Route, StringComparer.OrdinalIgnoreCase);
        var routes = new RouteTable(settings.MailServers);
        var views = new HealthViews(health);
        foreach (MailServer server in settings.MailServers)
        {
            yield return new HealthRow(server.Domain, server.Address, views.Of(HealthOwner.Server, server), views.Of(HealthOwner.Client, server),
                waiting.GetValueOrDefault(server.Domain));
        }
        foreach ((string route, RouteSummary some) in waiting.OrderBy(item => item.Key, StringComparer.Ordinal))
        {
            if (routes.Named(route) is null)
                yield return new HealthRow(route, null, null, null, some);
        }
    }

    public object ToJson() => new
    {
        Domain,
        MailServer = Address,
        Server = View(Server),
        Client = View(Client),
        LastDelivery = Client?.LastDelivery.Known(),
        Waiting = new { Deliveries = Waiting?.Count ?? 0, Waiting?.Oldest },
    };

    private static object? View(MailServerHealth? health) => health is null ? null : new
    {
        health.State,
        Since = health.Since.Known(),
        LastCheck = health.LastCheck.Known(),
        NextCheck = health.NextCheck.Known(),
        health.Failures,
        health.LastError,
        Announced = new
        {
            Extensions = health.Announced.Extensions.Split(' ', StringSplitOptions.RemoveEmptyEntries),
            SizeLimit = health.Announced.SizeLimit == 0 ? null : (long?)health.Announced.SizeLimit,
            health.Announced.Tls,
            CertificateExpiry = health.Announced.CertificateExpiry.Known(),
        },
    };
}
