using System.CommandLine;
using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay queue": how much waits for which route, and why. Its subcommands look at deliveries and change them.</summary>
internal sealed class QueueCommand(CommandContext context)
{
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command Create()
    {
        var command = new Command("queue", "Show how much mail waits for each domain and why; look at it and change it.")
        {
            _config,
            _json,
            new QueueListCommand(context).Create(),
            new QueueShowCommand(context).CreateShow(),
            new QueueShowCommand(context).CreateCat(),
            new QueueAgeCommand(context).Create(),
            new QueueExportCommand(context).Create(),
            new QueueImportCommand(context).Create(),
        };
        foreach (QueueVerb verb in Enum.GetValues<QueueVerb>())
            command.Add(new QueueChangeCommand(context, verb).Create());
        command.AddExamples(
            ("mfrelay queue", "a line for each domain"),
            ("mfrelay queue --json | jq '[.routes[].deliveries] | add'", "how many in all"),
            ("mfrelay queue list --older-than 1h", "what is stuck"),
            ("mfrelay queue flush --domain example.com", "tries it now"));
        command.SetAction((result, _) => RunAsync(
            result.GetRequiredValue(_config), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private Task<int> RunAsync(string config, bool asJson, InvocationConfiguration console) =>
        context.WithStoreAsync(config, console, async (settings, store, language) =>
        {
            (QueueSummary summary, IReadOnlyList<MailServerHealth> health) = await ReadAsync(store, settings, language, console.Error, context.Time);
            var views = new HealthViews(health);
            var routes = new RouteTable(settings.MailServers);
            if (asJson)
                console.Output.WriteJson(ToJson(summary, routes, views));
            else
                Print(summary, routes, views, language, console.Output);
            return 0;
        });

    /// <summary>The client's summary, brought up to now; counted row by row when there is none to be trusted.</summary>
    public static async Task<(QueueSummary Summary, IReadOnlyList<MailServerHealth> Health)> ReadAsync(
        QueueStore store, Settings settings, Language language, TextWriter error, TimeProvider time)
    {
        (QueueSummary? written, IReadOnlyList<MailServerHealth> health) = await store.RunAsync(table => (table.ReadSummary(), table.ReadHealth()));
        if (RunningDaemon.PidOf(RunningDaemon.Client, settings.RunDirectory) is null)
            written = null; // nobody has kept it since
        var counts = new QueueCounts(written, time.GetUtcNow());
        await foreach (Delivery row in new QueueRows(store, new Progress(error, time, language.Say("集計中", "counting"))).ReadAsync(written?.LastKey ?? 0))
            counts.Add(row);
        return (counts.ToSummary(), health);
    }

    private void Print(QueueSummary summary, RouteTable routes, HealthViews views, Language language, TextWriter output)
    {
        if (summary.Routes.Count == 0)
        {
            output.WriteLine(language.Say("キューは空です", "the queue is empty"));
            return;
        }
        TableOf(summary, routes, views, context.Time.GetUtcNow(), language).Write(output);
        output.WriteLine(language.Say(
            $"合計 {Number(summary.Routes.Sum(row => row.Count))} 件 {Octets(summary.Routes.Sum(row => row.Octets))}",
            $"{Number(summary.Routes.Sum(row => row.Count))} in all, {Octets(summary.Routes.Sum(row => row.Octets))}"));
    }

    /// <summary>A line for each route that has mail.</summary>
    public static TextTable TableOf(QueueSummary summary, RouteTable routes, HealthViews views, DateTimeOffset now, Language language)
    {
        TextTable table = language == Language.Ja
            ? new TextTable("ドメイン", "件数", "サイズ", "保留", "送信中", "最古", "次回送信", "メールサーバー", "理由")
            : new TextTable("DOMAIN", "COUNT", "SIZE", "HELD", "ACTIVE", "OLDEST", "NEXT DUE", "MAIL SERVERS", "WHY");
        foreach (RouteSummary row in summary.Routes)
        {
            (string servers, bool isBad) = Servers(routes.Named(row.Route), views, language);
            table.Add(row.Route, Number(row.Count), Octets(row.Octets), Number(row.Held), Number(row.Active), CommandSupport.Age(now - row.Oldest),
                Next(row.NextDue, now, language), new TextTable.Cell(servers, isBad), row.LastReply.Length == 0 ? "-" : row.LastReply);
        }
        return table;
    }

    private static (string Text, bool IsBad) Servers(Route? route, HealthViews views, Language language)
    {
        if (route is null)
            return (language.Say("(登録なし)", "(not registered)"), true);
        var states = route.MailServers.Select(server => (server.Address, Listed: views.Of(HealthOwner.Client, server) is { State: HealthState.Down })).ToArray();
        return (string.Join(' ', states.Select(server => server.Listed ? $"{server.Address}{language.Say("(確認リスト)", "(check list)")}" : server.Address)),
            states.All(server => server.Listed));
    }

    private static object ToJson(QueueSummary summary, RouteTable routes, HealthViews views) => new { summary.Time, Routes = RoutesToJson(summary, routes, views) };

    public static IEnumerable<object> RoutesToJson(QueueSummary summary, RouteTable routes, HealthViews views) => summary.Routes.Select(row => new
    {
        row.Route,
        Deliveries = row.Count,
        row.Octets,
        row.Held,
        row.Active,
        row.Oldest,
        NextDue = row.NextDue.Known(),
        row.LastReply,
        MailServers = routes.Named(row.Route)?.MailServers.Select(server => new
        {
            server.Address,
            OnCheckList = views.Of(HealthOwner.Client, server) is { State: HealthState.Down },
        }),
    });

    public static string Number(long number) => number.ToString("#,0", CultureInfo.InvariantCulture);

    /// <summary>"12 KiB", "3.4 GiB": as much as one wants to know.</summary>
    public static string Octets(long octets)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB"];
        double size = octets;
        int unit = 0;
        for (; size >= 1024 && unit < units.Length - 1; unit++)
            size /= 1024;
        return size.ToString(unit == 0 || size >= 100 ? "0" : "0.0", CultureInfo.InvariantCulture) + " " + units[unit];
    }

    public static string Next(DateTimeOffset due, DateTimeOffset now, Language language) =>
        due == DateTimeOffset.MaxValue ? "-" : due <= now ? language.Say("今", "now") : CommandSupport.Age(due - now);
}

/// <summary>Counts by route: what a summary says, and rows that are not in it.</summary>
internal sealed class QueueCounts(QueueSummary? summary, DateTimeOffset now)
{
    private readonly Dictionary<string, RouteSummary> _routes =
        (summary?.Routes ?? []).ToDictionary(route => route.Route, StringComparer.OrdinalIgnoreCase);

    private readonly HashSet<long> _seen = [];

    public void Add(Delivery row)
    {
        // It took the place of one that the summary counts, or that was counted before it was replaced under our eyes.
        _seen.Add(row.Key);
        if (row.Replaces != 0 && (row.Replaces <= summary?.LastKey || _seen.Contains(row.Replaces)))
            return;
        RouteSummary so = _routes.GetValueOrDefault(row.Route)
            ?? new RouteSummary(row.Route, 0, 0, 0, 0, DateTimeOffset.MaxValue, DateTimeOffset.MaxValue, "");
        _routes[row.Route] = so with
        {
            Count = so.Count + 1,
            Octets = so.Octets + ((row.Size + 1023) & ~1023L),
            Held = so.Held + (row.Hold ? 1 : 0),
            Oldest = row.Arrival < so.Oldest ? row.Arrival : so.Oldest,
            NextDue = !row.Hold && row.NextAttempt < so.NextDue ? row.NextAttempt : so.NextDue,
            LastReply = row.LastReply.Length > 0 ? row.LastReply : so.LastReply,
        };
    }

    public QueueSummary ToSummary() => new(summary?.Time ?? now, summary?.LastKey ?? 0,
        [.. _routes.Values.OrderByDescending(route => route.Count).ThenBy(route => route.Route, StringComparer.Ordinal)]);
}
