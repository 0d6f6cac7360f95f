using System.CommandLine;
using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay queue age": domains by age of their mail, as qshape(1) shows it; where mail is stuck stands out at once.</summary>
internal sealed class QueueAgeCommand(CommandContext context)
{
    /// <summary>Upper ends of the columns in minutes; the last column is open.</summary>
    private static readonly int[] Minutes = [5, 10, 20, 40, 80, 160, 320, 640, 1280];

    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();
    private readonly Option<bool> _bySender = new("--sender") { Description = "By the sender's domain instead of the recipient's." };

    public Command Create()
    {
        var command = new Command("age", "Show how old the mail of each domain is: deliveries by minutes in the queue.") { _bySender, _config, _json };
        command.AddExamples(
            ("mfrelay queue age", "domains with most mail first; numbers to the right are stuck"),
            ("mfrelay queue age --sender", "whose mail it is"));
        command.SetAction((result, _) => RunAsync(
            result.GetRequiredValue(_config), result.GetValue(_bySender), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private Task<int> RunAsync(string config, bool bySender, bool asJson, InvocationConfiguration console) =>
        context.WithStoreAsync(config, console, async (_, store, language) =>
        {
            DateTimeOffset now = context.Time.GetUtcNow();
            var domains = new Dictionary<string, int[]>(StringComparer.OrdinalIgnoreCase);
            await foreach (Delivery row in new QueueRows(store, new Progress(console.Error, context.Time, language.Say("集計中", "counting"))).ReadAsync())
            {
                IEnumerable<string> of = bySender
                    ? [QueueFilter.DomainOf(row.ReversePath)]
                    : row.Recipients.Select(recipient => QueueFilter.DomainOf(recipient.ForwardPath)).Distinct(StringComparer.OrdinalIgnoreCase);
                foreach (string domain in of)
                {
                    if (!domains.TryGetValue(domain, out int[]? columns))
                        domains[domain] = columns = new int[Minutes.Length + 1];
                    columns[ColumnOf(now - row.Arrival)]++;
                }
            }
            (string Domain, int[] Columns)[] rows =
                [.. domains.Select(item => (item.Key, item.Value)).OrderByDescending(item => item.Value.Sum()).ThenBy(item => item.Key, StringComparer.Ordinal)];
            if (asJson)
                console.Output.WriteJson(new { Minutes, Domains = rows.Select(row => new { row.Domain, Total = row.Columns.Sum(), Counts = row.Columns }) });
            else
                Print(rows, language).Write(console.Output);
            return 0;
        });

    internal static int ColumnOf(TimeSpan age)
    {
        int column = Array.FindIndex(Minutes, minutes => age.TotalMinutes < minutes);
        return column < 0 ? Minutes.Length : column;
    }

    private static TextTable Print((string Domain, int[] Columns)[] rows, Language language)
    {
        var table = new TextTable(
        [
            language.Say("ドメイン", "DOMAIN"), "T", .. Minutes.Select(minutes => minutes.ToString(CultureInfo.InvariantCulture)),
            $"{Minutes[^1].ToString(CultureInfo.InvariantCulture)}+",
        ]);
        int[] total = [.. Enumerable.Range(0, Minutes.Length + 1).Select(column => rows.Sum(row => row.Columns[column]))];
        foreach ((string domain, int[] columns) in rows.Prepend((language.Say("合計", "TOTAL"), total)))
        {
            table.Add(columns.Select(count => new TextTable.Cell(count.ToString(CultureInfo.InvariantCulture)))
                .Prepend(columns.Sum().ToString(CultureInfo.InvariantCulture)).Prepend(domain.Length == 0 ? "<>" : domain));
        }
        return table;
    }
}
