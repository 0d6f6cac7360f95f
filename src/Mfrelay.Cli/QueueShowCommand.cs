using System.CommandLine;
using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay queue show ID": envelope and what became of it so far. "mfrelay queue cat ID": the mail data, octet by octet.</summary>
internal sealed class QueueShowCommand(CommandContext context)
{
    private readonly Argument<QueueId> _id = new("ID")
    {
        Description = "A queue id.",
        CustomParser = result => context.IdOf(result.Tokens[0].Value, result),
    };

    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command CreateShow()
    {
        var command = new Command("show", "Show a message's envelope, its attempts and when it is tried next (exit status 1: not in the queue).") { _id, _config, _json };
        command.AddExamples(
            ("mfrelay queue show 0cfr2qt5n0800", "the id is in the log and in the Received field"),
            ("mfrelay queue show 0cfr2qt5n0800 --json | jq .deliveries", "for a program"));
        command.SetAction((result, _) => ShowAsync(
            result.GetRequiredValue(_config), result.GetValue(_id), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    public Command CreateCat()
    {
        var command = new Command("cat", "Print a message as it was received, our Received field in front (exit status 1: not in the queue).") { _id, _config };
        command.AddExamples(
            ("mfrelay queue cat 0cfr2qt5n0800 > message.eml", "keeps a copy"),
            ("mfrelay queue cat 0cfr2qt5n0800 | head -20", "a look at its header"));
        command.SetAction((result, _) => CatAsync(result.GetRequiredValue(_config), result.GetValue(_id), result.InvocationConfiguration));
        return command;
    }

    private Task<int> ShowAsync(string config, QueueId id, bool asJson, InvocationConfiguration console) =>
        WithMessageAsync(config, id, console, (settings, language, rows, message, damage) =>
        {
            DateTimeOffset now = context.Time.GetUtcNow();
            Envelope? envelope = message?.Envelope;
            TraceEvent[] attempts = AttemptsOf(id, settings.LogDirectory);
            if (asJson)
            {
                console.Output.WriteJson(new
                {
                    Id = id.ToString(),
                    Envelope = envelope is null ? null : StoredMail.EnvelopeJson(envelope),
                    Damage = damage,
                    Deliveries = rows.Select(row => QueueListCommand.ToJson(row, now)),
                    Attempts = attempts.Select(TraceCommand.ToJson),
                });
                return 0;
            }
            Print(rows, envelope, damage, language, now, console.Output);
            if (attempts.Length > 0)
            {
                console.Output.Line("");
                TraceTable.Write([new TracedMessage(id.ToString(), attempts)], language, context.Time.LocalTimeZone, console.Output);
            }
            return 0;
        });

    /// <summary>From the event log, as far as it goes back; none when it is off or may not be read.</summary>
    private static TraceEvent[] AttemptsOf(QueueId id, string directory)
    {
        try
        {
            return [.. new EventFiles(directory).Gather([id.ToString()]).Where(one => one.IsAttempt).OrderBy(one => one.Time)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static void Print(List<Delivery> rows, Envelope? envelope, string? damage, Language language, DateTimeOffset now, TextWriter output)
    {
        Delivery first = rows[0];
        var table = new TextTable("", "");
        table.Add("ID", first.Id.ToString());
        table.Add(language.Say("送信者", "sender"), $"<{first.ReversePath}>");
        table.Add(language.Say("受付", "arrival"), $"{Local(first.Arrival)} ({CommandSupport.Age(now - first.Arrival)})");
        table.Add(language.Say("サイズ", "size"), QueueCommand.Number(first.Size));
        if (envelope is not null)
        {
            table.Add(language.Say("クライアント", "client"), $"{envelope.ClientAddress} {envelope.HeloName} {envelope.Protocol}");
            table.Add(language.Say("エンベロープ", "envelope"), StoredMail.EnvelopeJson(envelope).Commands().First());
        }
        if (damage is not null)
            table.Add(language.Say("破損", "damaged"), new TextTable.Cell(damage, IsBad: true));
        foreach (Delivery row in rows)
        {
            table.Add("", "");
            table.Add(language.Say("経路", "route"), row.Route);
            foreach (OpenRecipient recipient in row.Recipients)
                table.Add(language.Say("受信者", "recipient"), recipient.ForwardPath);
            table.Add(language.Say("状態", "state"), QueueListCommand.StateText(row, now, language));
            table.Add(language.Say("試行回数", "attempts"), row.Attempts.ToString(CultureInfo.InvariantCulture));
            table.Add(language.Say("次回送信", "next attempt"), row.Hold ? "-" : row.NextAttempt <= now ? language.Say("今", "now") : Local(row.NextAttempt));
            table.Add(language.Say("最後の応答", "last reply"), row.LastReply.Length == 0 ? "-" : row.LastReply);
        }
        table.Write(output);
    }

    private static string Local(DateTimeOffset time) => time.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss zzz", CultureInfo.InvariantCulture);

    private Task<int> CatAsync(string config, QueueId id, InvocationConfiguration console) =>
        WithMessageAsync(config, id, console, (_, _, _, message, damage) =>
        {
            if (message is null)
            {
                console.Error.WriteLine($"mfrelay: {id}: {damage}");
                return CommandSupport.Failed;
            }
            // The octets as they are, where they go to a file or a pipe; a test's writer gets text.
            using Stream output = ReferenceEquals(console.Output, Console.Out) ? Console.OpenStandardOutput() : new MemoryStream();
            StoredMail.CopyTo(message, output);
            if (output is MemoryStream memory)
                console.Output.Write(System.Text.Encoding.Latin1.GetString(memory.ToArray()));
            return 0;
        });

    private Task<int> WithMessageAsync(
        string config, QueueId id, InvocationConfiguration console, Func<Settings, Language, List<Delivery>, SpooledMessage?, string?, int> use) =>
        context.WithStoreAsync(config, console, async (settings, store, language) =>
        {
            List<Delivery> rows = await new QueueRows(store, new Progress(console.Error, context.Time, language.Say("検索中", "reading"))).FindAsync(id);
            if (rows.Count == 0)
                return QueueListCommand.NothingMatches(language, console.Error);
            using var reader = new SpoolReader(StateDirectory.Open(settings.StateDirectory).Spool);
            using SpooledMessage? message = reader.Open(rows[0], out string? damage);
            return use(settings, language, rows, message, damage);
        });
}
