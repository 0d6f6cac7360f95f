using System.CommandLine;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>What an operator does to queued mail.</summary>
internal enum QueueVerb
{
    Flush,
    Hold,
    Release,
    Requeue,
    Bounce,
    Delete,
}

/// <summary>"mfrelay queue flush|hold|release|requeue|bounce|delete": changes the rows that a filter lets through, some at a time.</summary>
internal sealed class QueueChangeCommand(CommandContext context, QueueVerb verb)
{
    private const int RowsPerChange = 500;
    private const int RowsShown = 10;

    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();
    private readonly Option<bool> _yes = new("--yes", "-y") { Description = "Do not ask." };
    private readonly QueueFilterOptions _filter = new(context);

    private bool IsDangerous => verb is QueueVerb.Bounce or QueueVerb.Delete;

    private string Name => verb.ToString().ToLowerInvariant();

    public Command Create()
    {
        var command = new Command(Name, Description()) { _config, _json };
        _filter.AddTo(command);
        if (IsDangerous)
            command.Add(_yes);
        command.AddExamples(
            ($"mfrelay queue {Name} 0cfr2qt5n0800", "one message"),
            ($"mfrelay queue {Name} --domain example.com --older-than 4h", "all that has waited for long"));
        command.SetAction((result, _) => RunAsync(result.GetRequiredValue(_config), _filter.Of(result), result.GetValue(_json),
            !IsDangerous || result.GetValue(_yes), result.InvocationConfiguration));
        return command;
    }

    private string Description() => verb switch
    {
        QueueVerb.Flush => "Try mail now, once, even where its mail server is on the check list (exit status 1: nothing matches).",
        QueueVerb.Hold => "Keep mail in the queue without trying it, until it is released (exit status 1: nothing matches).",
        QueueVerb.Release => "End a hold; mail goes on by its schedule (exit status 1: nothing matches).",
        QueueVerb.Requeue => "Route mail anew by the present config, and try it at once (exit status 1: nothing matches).",
        QueueVerb.Bounce => "Send mail back to its senders now (exit status 1: nothing matches).",
        QueueVerb.Delete => "Remove mail for good; nobody is told (exit status 1: nothing matches).",
    };

    private Task<int> RunAsync(string config, QueueFilter filter, bool asJson, bool sure, InvocationConfiguration console) =>
        context.WithStoreAsync(config, console, async (settings, store, language) =>
        {
            RunningDaemon.RequireSameVersion(settings.RunDirectory, language);
            DateTimeOffset now = context.Time.GetUtcNow();
            var hit = new List<long>();
            var shown = new List<Delivery>();
            await foreach (Delivery row in new QueueRows(store, new Progress(console.Error, context.Time, language.Say("検索中", "reading"))).ReadAsync())
            {
                if (!filter.Matches(row, now) || !QueueChange.Applies(verb, row))
                    continue;
                hit.Add(row.Key);
                if (shown.Count < RowsShown)
                    shown.Add(row);
            }
            if (hit.Count == 0)
                return QueueListCommand.NothingMatches(language, console.Error);
            if (!sure && !IsConfirmed(hit.Count, shown, now, language, console))
                return CommandSupport.WrongUse;
            int changed = await ChangeAsync(store, settings, hit, row => filter.Matches(row, now), console, language);
            if (asJson)
                console.Output.WriteJson(new { Action = Name, Matched = hit.Count, Changed = changed });
            else
                console.Output.Line(Done(changed, language));
            return changed > 0 ? 0 : CommandSupport.Failed;
        });

    private bool IsConfirmed(int count, List<Delivery> shown, DateTimeOffset now, Language language, InvocationConfiguration console)
    {
        QueueListCommand.TableOf(shown, now, language).Write(console.Error);
        if (count > shown.Count)
            console.Error.WriteLine(language.Say($"ほか {QueueCommand.Number(count - shown.Count)} 件", $"and {QueueCommand.Number(count - shown.Count)} more"));
        string what = verb == QueueVerb.Delete
            ? language.Say($"{QueueCommand.Number(count)} 件を削除します。元に戻せません。", $"{QueueCommand.Number(count)} would be deleted for good.")
            : language.Say($"{QueueCommand.Number(count)} 件を送信者に返送します。", $"{QueueCommand.Number(count)} would go back to their senders.");
        if (context.Answers is not { } answers)
        {
            console.Error.WriteLine(language.Say($"mfrelay: {what}実行するには --yes を付けてください", $"mfrelay: {what} Nothing was changed; --yes does it"));
            return false;
        }
        console.Error.Write(language.Say($"{what}よろしいですか? [y/N] ", $"{what} Go on? [y/N] "));
        console.Error.Flush();
        if (answers.ReadLine()?.Trim() is "y" or "Y" or "yes" or "はい")
            return true;
        console.Error.WriteLine(language.Say("mfrelay: 何も変更しませんでした", "mfrelay: nothing was changed"));
        return false;
    }

    private async Task<int> ChangeAsync(
        QueueStore store, Settings settings, List<long> keys, Func<Delivery, bool> stillMatches, InvocationConfiguration console, Language language)
    {
        string spool = StateDirectory.Open(settings.StateDirectory).Spool;
        var routes = new RouteTable(settings.MailServers);
        var progress = new Progress(console.Error, context.Time, language.Say("変更中", "changing"));
        using var journal = new DoneJournal(spool);
        using var wake = WakeSocket.To(settings.RunDirectory, WakeSocket.ClientName);
        int changed = 0;
        foreach (long[] chunk in keys.Chunk(RowsPerChange))
        {
            // Read again inside: it may have been delivered, or changed, since it was found.
            Func<QueueTable, IEnumerable<Delivery>> find = table => table.Read(chunk).Where(row => stillMatches(row) && QueueChange.Applies(verb, row));
            if (verb == QueueVerb.Delete)
                find = await SettleAsync(store, journal, spool, find);
            changed += await store.RunAsync(table => find(table).Count(row => table.Replace(row.Key, QueueChange.Of(verb, row, routes))));
            wake.Wake();
            progress.Report(changed, keys.Count);
        }
        progress.Clear();
        return changed;
    }

    /// <summary>
    /// Settles the rows in the done journal. Returns how to find them in the table after that, whatever has become of them: exactly what is in
    /// the journal is deleted, by the recipients, since a row may have changed, or be another with a new key.
    /// </summary>
    private static async Task<Func<QueueTable, IEnumerable<Delivery>>> SettleAsync(
        QueueStore store, DoneJournal journal, string spool, Func<QueueTable, IEnumerable<Delivery>> find)
    {
        (Delivery[] rows, long next) = await store.RunAsync(table => (find(table).ToArray(), table.NextKey));
        QueueChange.Settle(journal, spool, rows);
        long[] keys = [.. rows.Select(row => row.Key)];
        var settled = rows.SelectMany(row => row.Recipients, (row, recipient) => (row.Position, recipient.Ordinal)).ToHashSet();
        return table => table.Read(keys).Concat(table.ReadAfter(next - 1, int.MaxValue))
            .Where(row => row.Recipients.All(recipient => settled.Contains((row.Position, recipient.Ordinal))));
    }

    private string Done(int count, Language language)
    {
        string number = QueueCommand.Number(count);
        return verb switch
        {
            QueueVerb.Flush => language.Say($"{number} 件を今すぐ送信します", $"{number} to be tried now"),
            QueueVerb.Hold => language.Say($"{number} 件を保留しました", $"{number} held"),
            QueueVerb.Release => language.Say($"{number} 件の保留を解除しました", $"{number} released"),
            QueueVerb.Requeue => language.Say($"{number} 件の経路を選び直しました", $"{number} routed anew"),
            QueueVerb.Bounce => language.Say($"{number} 件を送信者に返送します", $"{number} to go back to their senders"),
            QueueVerb.Delete => language.Say($"{number} 件を削除しました", $"{number} deleted"),
        };
    }
}

/// <summary>What becomes of a row. mf-smtp-client reads what takes its place as news.</summary>
internal static class QueueChange
{
    public static bool Applies(QueueVerb verb, Delivery row) => verb switch
    {
        QueueVerb.Flush => !row.Hold,
        QueueVerb.Hold => !row.Hold,
        QueueVerb.Release => row.Hold,
        QueueVerb.Requeue or QueueVerb.Bounce or QueueVerb.Delete => true,
    };

    public static IReadOnlyList<Delivery> Of(QueueVerb verb, Delivery row, RouteTable routes) => verb switch
    {
        QueueVerb.Flush => [row with { Order = Order.Flush, NextAttempt = default }],
        QueueVerb.Hold => [row with { Hold = true, Order = Order.None }],
        QueueVerb.Release => [row with { Hold = false }],
        QueueVerb.Requeue => routes.Reroute(row with { NextAttempt = default, Order = Order.None }),
        QueueVerb.Bounce => [row with { Order = Order.Bounce, Hold = false, NextAttempt = default }],
        QueueVerb.Delete => [row with { Order = Order.Delete, Hold = false }],
    };

    /// <summary>Deleted recipients are settled in the done journal before their row says so: a table made again does not bring them back.</summary>
    public static void Settle(DoneJournal journal, string spool, IEnumerable<Delivery> rows)
    {
        foreach (IGrouping<long, Delivery> segment in rows.GroupBy(row => row.Position.Segment))
        {
            // A segment that is gone has no journal to write to: everything in it is settled.
            if (!File.Exists(Path.Combine(spool, SpoolFormat.SegmentName(segment.Key))))
                continue;
            journal.Append(segment.Key,
                [.. segment.SelectMany(row => row.Recipients.Select(recipient => new SettledRecipient(row.Position, recipient.Ordinal)))]);
        }
        journal.Sync();
    }
}
