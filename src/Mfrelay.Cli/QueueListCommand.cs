using System.CommandLine;
using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

internal enum QueueOrder
{
    /// <summary>Oldest first.</summary>
    Arrival,
    Next,

    /// <summary>Largest first.</summary>
    Size,

    /// <summary>Most first.</summary>
    Attempts,
    Sender,
    Domain,
}

/// <summary>"mfrelay queue list": a line for each delivery that the filter lets through.</summary>
internal sealed class QueueListCommand(CommandContext context)
{
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();
    private readonly QueueFilterOptions _filter = new(context);
    private readonly Option<QueueOrder> _sort =
        new Option<QueueOrder>("--sort") { Description = "What comes first: oldest arrival, next attempt, largest size, most attempts, or by the alphabet." }.WithWords();

    private readonly Option<int> _limit = new("--limit")
    {
        Description = "Most lines; 0 is no limit.",
        DefaultValueFactory = _ => 100,
        HelpName = "N",
    };

    public Command Create()
    {
        var command = new Command("list", "List deliveries (exit status 1: nothing matches).") { _sort, _limit, _config, _json };
        _filter.AddTo(command);
        command.AddExamples(
            ("mfrelay queue list", "the oldest 100"),
            ("mfrelay queue list --domain example.com --state deferred --sort next", "what is tried next"),
            ("mfrelay queue list --sender '*@news.example' --limit 0 --json", "all from there, for a program"));
        command.SetAction((result, _) => RunAsync(result.GetRequiredValue(_config), _filter.Of(result), result.GetValue(_sort), result.GetValue(_limit),
            result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private Task<int> RunAsync(string config, QueueFilter filter, QueueOrder order, int limit, bool asJson, InvocationConfiguration console) =>
        context.WithStoreAsync(config, console, async (_, store, language) =>
        {
            DateTimeOffset now = context.Time.GetUtcNow();
            var best = new Best(order, limit <= 0 ? int.MaxValue : limit);
            await foreach (Delivery row in new QueueRows(store, new Progress(console.Error, context.Time, language.Say("検索中", "reading"))).ReadAsync())
            {
                if (filter.Matches(row, now))
                    best.Add(row);
            }
            if (asJson)
                console.Output.WriteJson(best.Rows.Select(row => ToJson(row, now)));
            else if (best.Total > 0)
                Print(best, now, language, console);
            if (best.Total > 0)
                return 0;
            return NothingMatches(language, console.Error);
        });

    public static int NothingMatches(Language language, TextWriter error)
    {
        error.WriteLine(language.Say("mfrelay: 該当するメールはキューにありません", "mfrelay: nothing in the queue matches"));
        return CommandSupport.Failed;
    }

    private static void Print(Best best, DateTimeOffset now, Language language, InvocationConfiguration console)
    {
        TableOf(best.Rows, now, language).Write(console.Output);
        if (best.Total > best.Rows.Count)
        {
            console.Error.WriteLine(language.Say(
                $"ほかに {QueueCommand.Number(best.Total - best.Rows.Count)} 件あります (--limit 0 ですべて表示)",
                $"{QueueCommand.Number(best.Total - best.Rows.Count)} more (--limit 0 shows all)"));
        }
    }

    public static TextTable TableOf(IEnumerable<Delivery> rows, DateTimeOffset now, Language language)
    {
        TextTable table = language == Language.Ja
            ? new TextTable("ID", "経過", "状態", "次回", "試行", "サイズ", "送信者", "受信者", "最後の応答")
            : new TextTable("ID", "AGE", "STATE", "NEXT", "ATTEMPTS", "SIZE", "SENDER", "RECIPIENTS", "LAST REPLY");
        foreach (Delivery row in rows)
        {
            QueueState state = QueueFilter.StateOf(row, now);
            table.Add(row.Id.ToString(), CommandSupport.Age(now - row.Arrival), new TextTable.Cell(StateText(row, now, language), state == QueueState.Held),
                state == QueueState.Held ? "-" : QueueCommand.Next(row.NextAttempt, now, language), row.Attempts.ToString(CultureInfo.InvariantCulture),
                QueueCommand.Octets(row.Size), $"<{row.ReversePath}>", Recipients(row), row.LastReply.Length == 0 ? "-" : row.LastReply);
        }
        return table;
    }

    private static string Recipients(Delivery row) => row.Recipients.Count == 1
        ? row.Recipients[0].ForwardPath
        : string.Create(CultureInfo.InvariantCulture, $"{row.Recipients[0].ForwardPath} (+{row.Recipients.Count - 1})");

    public static string StateText(Delivery row, DateTimeOffset now, Language language) => row.Order switch
    {
        Order.Bounce => language.Say("返送予定", "to bounce"),
        Order.Flush => language.Say("即時送信", "flushed"),
        _ => QueueFilter.StateOf(row, now) switch
        {
            QueueState.Held => language.Say("保留", "held"),
            QueueState.Deferred => language.Say("再送待ち", "deferred"),
            QueueState.Due => language.Say("送信待ち", "due"),
        },
    };

    public static object ToJson(Delivery row, DateTimeOffset now) => new
    {
        Id = row.Id.ToString(),
        row.Route,
        State = QueueFilter.StateOf(row, now),
        row.Order,
        row.Arrival,
        row.Size,
        Sender = row.ReversePath,
        Recipients = row.Recipients.Select(recipient => recipient.ForwardPath),
        row.Attempts,
        NextAttempt = row.Hold ? null : row.NextAttempt.Known(),
        row.LastReply,
    };

    /// <summary>The first of an order, in bounded memory.</summary>
    private sealed class Best(QueueOrder order, int limit)
    {
        private readonly List<Delivery> _rows = [];

        public int Total { get; private set; }

        public List<Delivery> Rows
        {
            get
            {
                Cut();
                return _rows;
            }
        }

        public void Add(Delivery row)
        {
            Total++;
            _rows.Add(row);
            if (_rows.Count / 2 > Math.Max(limit, 1000))
                Cut();
        }

        private void Cut()
        {
            List<Delivery> sorted = [.. order switch
            {
                QueueOrder.Arrival => _rows.OrderBy(row => row.Arrival),
                QueueOrder.Next => _rows.OrderBy(row => row.Hold ? DateTimeOffset.MaxValue : row.NextAttempt),
                QueueOrder.Size => _rows.OrderByDescending(row => row.Size),
                QueueOrder.Attempts => _rows.OrderByDescending(row => row.Attempts),
                QueueOrder.Sender => _rows.OrderBy(row => row.ReversePath, StringComparer.OrdinalIgnoreCase),
                QueueOrder.Domain => _rows.OrderBy(row => row.Route, StringComparer.OrdinalIgnoreCase),
            }];
            _rows.Clear();
            _rows.AddRange(sorted.Take(limit));
        }
    }
}
