using System.CommandLine;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay queue export DIR": a copy of queued mail as files; the queue stays as it is.</summary>
internal sealed class QueueExportCommand(CommandContext context)
{
    private readonly Argument<string> _directory = new("DIR") { Description = "Where the files go; made when it is missing." };
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();
    private readonly QueueFilterOptions _filter = new(context);

    public Command Create()
    {
        var command = new Command("export", "Copy queued mail to files: QUEUE-ID.eml and QUEUE-ID.json, the envelope (exit status 1: nothing matches).")
        {
            _directory,
            _config,
            _json,
        };
        _filter.AddTo(command);
        command.AddExamples(
            ("mfrelay queue export ./mail --domain example.com", "then: mfrelay queue delete --domain example.com"),
            ("mfrelay queue import ./mail", "on another machine sends it on its way"));
        command.SetAction((result, _) => RunAsync(
            result.GetRequiredValue(_config), result.GetRequiredValue(_directory), _filter.Of(result), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private async Task<int> RunAsync(string config, string directory, QueueFilter filter, bool asJson, InvocationConfiguration console)
    {
        // Before the command takes on the identity of the state directory's owner, who may not write there.
        string path = Path.GetFullPath(directory);
        try
        {
            Directory.CreateDirectory(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            console.Error.Line($"mfrelay: {e.Message}");
            return CommandSupport.Failed;
        }
        var byMessage = new Dictionary<QueueId, List<Delivery>>();
        (string spool, Language spoken) = ("", Language.En);
        int exit = await context.WithStoreAsync(config, console, async (settings, store, language) =>
        {
            (spool, spoken) = (StateDirectory.Open(settings.StateDirectory).Spool, language);
            DateTimeOffset now = context.Time.GetUtcNow();
            await foreach (Delivery row in new QueueRows(store, new Progress(console.Error, context.Time, language.Say("検索中", "reading"))).ReadAsync())
            {
                if (!filter.Matches(row, now))
                    continue;
                if (!byMessage.TryGetValue(row.Id, out List<Delivery>? rows))
                    byMessage[row.Id] = rows = [];
                rows.Add(row);
            }
            return byMessage.Count == 0 ? QueueListCommand.NothingMatches(language, console.Error) : 0;
        });
        if (exit != 0)
            return exit;
        StateAccess.BecomeCallerAgain();
        using var reader = new SpoolReader(spool);
        return WriteAll(reader, [.. byMessage.Values], path, asJson, spoken, console);
    }

    private int WriteAll(SpoolReader reader, List<List<Delivery>> messages, string path, bool asJson, Language language, InvocationConfiguration console)
    {
        var progress = new Progress(console.Error, context.Time, language.Say("書き出し中", "exporting"));
        int written = 0;
        foreach (List<Delivery> rows in messages)
        {
            if (Write(reader, rows, path, console.Error))
                written++;
            progress.Report(written, messages.Count);
        }
        progress.Clear();
        if (asJson)
            console.Output.WriteJson(new { Directory = path, Messages = written, Failed = messages.Count - written });
        else
            console.Output.Line(language.Say($"{written} 件を {path} に書き出しました", $"{written} written to {path}"));
        return written == messages.Count ? 0 : CommandSupport.Failed;
    }

    private static bool Write(SpoolReader reader, List<Delivery> rows, string directory, TextWriter error)
    {
        string name = Path.Combine(directory, rows[0].Id.ToString());
        using SpooledMessage? message = reader.Open(rows[0], out string? damage);
        if (message is null)
        {
            error.WriteLine($"mfrelay: {rows[0].Id}: {damage}");
            return false;
        }
        try
        {
            using (FileStream data = File.Create($"{name}.eml"))
                StoredMail.CopyTo(message, data);
            using StreamWriter envelope = File.CreateText($"{name}.json");
            envelope.WriteJson(StoredMail.EnvelopeJson(message.Envelope, rows.SelectMany(row => row.Recipients).Select(recipient => recipient.Ordinal).ToHashSet()));
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            error.WriteLine($"mfrelay: {name}: {e.Message}");
            return false;
        }
    }
}
