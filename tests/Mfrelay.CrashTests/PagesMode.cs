using System.Collections.Concurrent;
using Mfrelay.Core;

namespace Mfrelay.CrashTests;

/// <summary>
/// Many broken databases in a short time: the store alone, in this process, on a spool with thousands of open recipients. Each damage must end, soon,
/// in a table that has exactly what is open.
/// </summary>
internal static class PagesMode
{
    private const int Threads = 2;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    public static async Task<bool> RunAsync(Amount amount)
    {
        string root = Directory.CreateTempSubdirectory("mfrelay-pages-").FullName;
        try
        {
            string model = await MakeAsync(Path.Join(root, "model"), amount.Messages);
            var bad = new ConcurrentBag<string>();
            int rebuilt = 0;
            await Parallel.ForEachAsync(Enumerable.Range(amount.Seed, amount.Rounds), new ParallelOptions { MaxDegreeOfParallelism = Threads }, async (seed, _) =>
            {
                (string? wrong, bool again) = await TryAsync(model, Path.Join(root, $"try{seed}"), new DatabaseDamage(seed));
                if (again)
                    Interlocked.Increment(ref rebuilt);
                if (wrong is null)
                    return;
                bad.Add(wrong);
                Console.WriteLine($"    pages: {wrong}");
            });
            Console.WriteLine($"pages: rounds {amount.Rounds}, open recipients {amount.Messages}, made again {rebuilt}, wrong or hung {bad.Count}");
            return bad.IsEmpty;
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    /// <summary>A state directory whose table has had some life, and copies of its database now and from before.</summary>
    private static async Task<string> MakeAsync(string root, int messages)
    {
        StateDirectory directory = StateDirectory.Open(root);
        using MailLog log = Silent();
        var ids = new QueueIdSource(TimeProvider.System);
        var records = new List<SpooledRecord>();
        using (var writer = new SpoolWriter(directory.Spool, SpoolOwner.Server, ids, records.AddRange))
        using (IncomingMessage message = writer.NewMessage())
        {
            for (int i = 0; i < messages * 2; i++)
            {
                QueueId id = ids.Next();
                message.Begin(id);
                message.Append("Subject: x\r\n\r\nx\r\n"u8);
                ValueTask<SpoolResult> done = message.CommitAsync(EnvelopeOf(id, i));
                await done;
            }
        }
        using var store = Store(directory, log);
        await store.RunAsync(table => store.CatchUp(SpoolOwner.Server, table));
        IReadOnlyList<Delivery> rows = await store.RunAsync(table => table.ReadAfter(0, int.MaxValue));
        File.Copy(directory.Database, Path.Join(root, "older.db"));
        // Every second one is settled, others have been tried.
        using (var journal = new DoneJournal(directory.Spool))
        {
            foreach (Delivery row in rows.Where(row => row.Key % 2 == 0))
                journal.Append(row.Position.Segment, [new SettledRecipient(row.Position, 0)]);
        }
        foreach (Delivery[] some in rows.Chunk(50))
        {
            await store.RunAsync(table =>
            {
                foreach (Delivery row in some)
                {
                    if (row.Key % 2 == 0)
                        table.Delete(row.Key);
                    else if (row.Key % 3 == 0)
                        table.Update(row with { Attempts = 2, LastReply = new string('x', (int)(row.Key % 200)) });
                    else if (row.Key % 5 == 0)
                        table.Replace(row.Key, row);
                }
            });
        }
        return root;
    }

    private static async Task<(string? Wrong, bool MadeAgain)> TryAsync(string model, string root, DatabaseDamage damage)
    {
        Copy(model, root);
        StateDirectory directory = StateDirectory.Open(root);
        damage.Do(directory.Database, Path.Join(root, "older.db"));
        Task<string?> check = Task.Run(() => CheckAsync(directory, root));
        if (await Task.WhenAny(check, Task.Delay(Limit)) != check)
            return ($"hangs: {damage}", false);
        string? wrong;
        try
        {
            wrong = await check;
        }
        catch (Exception e)
        {
            wrong = $"{e.GetType().Name} {e.Message}";
        }
        bool again = Directory.GetFiles(root, "mfrelay.db.broken-*").Length > 0;
        Directory.Delete(root, recursive: true);
        return (wrong is null ? null : $"{damage}: {wrong}", again);
    }

    /// <summary>What a start and a while of work do; null when the table is what it has to be.</summary>
    private static async Task<string?> CheckAsync(StateDirectory directory, string root)
    {
        using MailLog log = Silent();
        for (int turn = 0; turn < 2; turn++)
        {
            using QueueStore store = Store(directory, log);
            await store.TakeOverAsync(SpoolOwner.Server);
            await store.RunAsync(table => table.ReadBefore(table.NextKey, 1000));
            IReadOnlyList<Delivery> rows = await store.RunAsync(table => table.ReadAfter(0, int.MaxValue));
            await store.RunAsync(table =>
            {
                foreach (Delivery row in table.Read([.. rows.Take(200).Select(row => row.Key)]))
                    table.Update(row with { Attempts = row.Attempts + 1, LastReply = "tried" });
                foreach (Delivery row in rows.TakeLast(50))
                    table.Replace(row.Key, row);
            });
        }
        var audit = new QueueAudit(root);
        return await audit.WaitUntilEqualAsync(TimeSpan.Zero);
    }

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (string directory in Directory.GetDirectories(from, "*", SearchOption.AllDirectories))
            Directory.CreateDirectory(Path.Join(to, Path.GetRelativePath(from, directory)));
        foreach (string file in Directory.GetFiles(from, "*", SearchOption.AllDirectories))
        {
            string copy = Path.Join(to, Path.GetRelativePath(from, file));
            File.Copy(file, copy);
            File.SetLastWriteTimeUtc(copy, File.GetLastWriteTimeUtc(file));
        }
    }

    private static QueueStore Store(StateDirectory directory, MailLog log) =>
        new(directory, static () => new RouteTable([new MailServer { Domain = "*", Host = "192.0.2.1" }]), log, TimeProvider.System);

    private static MailLog Silent() => MailLog.ToAction(Language.En, static (_, _) => { });

    private static Envelope EnvelopeOf(QueueId id, int number) => new()
    {
        Id = id,
        Arrival = DateTimeOffset.FromUnixTimeMilliseconds(1732427566123),
        ClientAddress = "192.0.2.9:40112",
        HeloName = "mail.example.org",
        Protocol = "ESMTP",
        ReversePath = $"sender{number}@example.org",
        Recipients = [new Recipient($"recipient{number}@example.com")],
    };
}
