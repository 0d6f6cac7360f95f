using System.Diagnostics;
using Mfrelay.Core;

namespace Mfrelay.CrashTests;

/// <summary>What the state directory says of itself: spool minus done journal must be what the queue table has.</summary>
internal sealed class QueueAudit(string stateDirectory)
{
    private readonly string _spool = Path.Join(stateDirectory, "queue", "smtp");

    /// <summary>Times that this look at the table, and not a daemon, was the first to find it broken, and moved it aside.</summary>
    public int MovedAside { get; private set; }

    /// <summary>Open recipients by the spool and the done journal. A file that goes meanwhile is looked for again.</summary>
    public HashSet<SettledRecipient> OpenBySpool()
    {
        while (true)
        {
            try
            {
                return ReadSpool();
            }
            catch (FileNotFoundException)
            {
                // A segment that has been settled.
            }
        }
    }

    /// <summary>Open recipients by the table, however often it names them.</summary>
    public async Task<List<SettledRecipient>> OpenByTableAsync()
    {
        StateDirectory directory = StateDirectory.Open(stateDirectory);
        using var log = MailLog.ToAction(Language.En, (_, line) => MovedAside += line.StartsWith("WARN_c301", StringComparison.Ordinal) ? 1 : 0);
        using var store = new QueueStore(directory, static () => new RouteTable([]), log, TimeProvider.System);
        IReadOnlyList<Delivery> rows = await store.RunAsync(static table => table.ReadAfter(0, int.MaxValue));
        return [.. rows.SelectMany(row => row.Recipients.Select(recipient => new SettledRecipient(row.Position, recipient.Ordinal)))];
    }

    /// <summary>Waits until nothing is open by spool and journal; what is open then.</summary>
    public async Task<int> WaitUntilEmptyAsync(TimeSpan limit)
    {
        long began = Stopwatch.GetTimestamp();
        while (true)
        {
            long look = Stopwatch.GetTimestamp();
            int open = OpenBySpool().Count;
            if (open == 0 || Stopwatch.GetElapsedTime(began) > limit)
                return open;
            // A look reads all of the spool: with a long queue it would take the processor from those who are to empty it.
            await Task.Delay(TimeSpan.FromMilliseconds(100) + (Stopwatch.GetElapsedTime(look) * 9));
        }
    }

    /// <summary>Waits until table and spool say the same; null when they do, else how they differ.</summary>
    public async Task<string?> WaitUntilEqualAsync(TimeSpan limit)
    {
        long began = Stopwatch.GetTimestamp();
        while (true)
        {
            List<SettledRecipient> table = await OpenByTableAsync().WaitAsync(limit + TimeSpan.FromSeconds(20));
            HashSet<SettledRecipient> spool = OpenBySpool();
            if (table.Count == spool.Count && spool.SetEquals(table))
                return null;
            if (Stopwatch.GetElapsedTime(began) > limit)
                return $"spool minus journal {spool.Count}, table {table.Count}, only in spool {spool.Except(table).Count()}, only in table {table.Except(spool).Count()}";
            await Task.Delay(200);
        }
    }

    /// <summary>Files of the spool that an empty queue has no use for. The server has stopped; the client looks again after a start.</summary>
    public async Task<string[]> StaleAsync(TimeSpan limit)
    {
        long began = Stopwatch.GetTimestamp();
        while (true)
        {
            string[] left = [.. Directory.GetFiles(_spool).Select(Path.GetFileName).OfType<string>().Where(name => name is not "server.end")];
            if (left.Length == 0 || Stopwatch.GetElapsedTime(began) > limit)
                return left;
            await Task.Delay(100);
        }
    }

    private HashSet<SettledRecipient> ReadSpool()
    {
        HashSet<SettledRecipient> open = [];
        foreach (long segment in SpoolScanner.Segments(_spool))
        {
            SettledSet settled = DoneJournal.Read(_spool, segment);
            foreach (ScannedRecord record in SpoolScanner.Scan(_spool, segment, 0, checkData: false))
            {
                for (int i = 0; record.Envelope is not null && i < record.Envelope.Recipients.Count; i++)
                {
                    if (!settled.Contains(record.Position.Offset, i))
                        open.Add(new SettledRecipient(record.Position, i));
                }
            }
        }
        return open;
    }
}
