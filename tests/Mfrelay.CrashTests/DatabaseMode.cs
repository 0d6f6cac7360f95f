using Mfrelay.Core;

namespace Mfrelay.CrashTests;

/// <summary>
/// mfrelay.db broken while both daemons are stopped, or under them while they run, with a queue that is full because the mail server is down: the table
/// must soon have exactly what is open, nobody gets anything twice, the broken file stays, one line says so.
/// </summary>
internal static class DatabaseMode
{
    private const int RoundsPerDrain = 5;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    public static async Task<bool> RunAsync(Amount amount)
    {
        using var trial = new Trial("database", amount.Seed, maxSize: 20_000);
        string older = Path.Join(trial.Root, "older.db");
        await trial.Pair.StartAsync();
        int broken = 0;
        for (int round = 0; round < amount.Rounds; round++)
        {
            if (round % RoundsPerDrain == 0)
                await FillAsync(trial, amount.Messages, older);
            var damage = new DatabaseDamage(amount.Seed * 10_000 + round);
            bool stopped = trial.Random.Next(2) == 0;
            string what = $"round {round}, {damage}, {(stopped ? "stopped" : "running")}";
            try
            {
                await BreakAsync(trial, damage, older, stopped);
                broken++;
            }
            catch (Exception e) when (e is TimeoutException or InvalidOperationException)
            {
                trial.Wrong($"{what}: hangs or ends: {e.Message.Split('\n')[0]}");
                break;
            }
            if (await trial.Audit.WaitUntilEqualAsync(Limit) is { } difference)
                trial.Wrong($"{what}: {difference}");
            CheckTraces(trial, what);
            if (round % RoundsPerDrain == RoundsPerDrain - 1 || round == amount.Rounds - 1)
            {
                trial.Target.Start();
                await trial.DrainAsync();
            }
        }
        return await trial.FinishAsync(amount.Rounds, $", full queue {amount.Messages}, survived {broken}");
    }

    /// <summary>Some mail gets through, which must not come again; then the mail server is down and thousands wait.</summary>
    private static async Task FillAsync(Trial trial, int count, string older)
    {
        await trial.SendAsync(count / 4);
        await trial.Audit.WaitUntilEmptyAsync(Trial.DrainLimit);
        trial.Target.Stop();
        await trial.SendAsync(count / 2);
        if (await trial.Audit.WaitUntilEqualAsync(Limit) is { } difference)
            trial.Wrong($"half full: {difference}");
        File.Copy(trial.Pair.Database, older, overwrite: true);
        await trial.SendAsync(count / 2);
        if (await trial.Audit.WaitUntilEqualAsync(Limit) is { } other)
            trial.Wrong($"full: {other}");
    }

    private static async Task BreakAsync(Trial trial, DatabaseDamage damage, string older, bool stopped)
    {
        if (stopped)
            await trial.Pair.StopAsync();
        // Between two turns: the file is locked while somebody has it open.
        using (var lease = new Lease(trial.Pair.StateDirectory))
        {
            lease.Enter();
            damage.Do(trial.Pair.Database, older);
        }
        await trial.Pair.StartAsync((int)Limit.TotalSeconds);
        // New mail, and with it a turn for each of them.
        await trial.SendAsync(20, (int)Limit.TotalSeconds);
    }

    private static void CheckTraces(Trial trial, string what)
    {
        int aside = Directory.GetFiles(trial.Pair.StateDirectory, "mfrelay.db.broken-*").Length;
        int lines = trial.Pair.Count("WARN_c301") + trial.Audit.MovedAside;
        if (aside != lines)
            trial.Wrong($"{what}: {lines} lines so far, and {aside} files kept aside");
    }
}
