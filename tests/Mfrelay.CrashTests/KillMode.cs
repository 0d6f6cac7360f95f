namespace Mfrelay.CrashTests;

/// <summary>kill -9 at a random moment under load: the server, the client or both; every ten rounds the queue runs empty and is counted.</summary>
internal static class KillMode
{
    private const int RoundsPerDrain = 10;

    public static async Task<bool> RunAsync(Amount amount)
    {
        using var trial = new Trial("kill", amount.Seed, laterEvery: 8);
        await trial.Pair.StartAsync();
        for (int round = 0; round < amount.Rounds;)
        {
            trial.Target.PutsOff = true;
            trial.BeginLoad();
            for (int end = Math.Min(round + RoundsPerDrain, amount.Rounds); round < end; round++)
            {
                await trial.PauseAsync(50, 800);
                // While it starts, too.
                bool again = trial.Random.Next(5) == 0;
                await KillAsync(trial);
                if (!again)
                    await trial.Pair.StartAsync();
                else if (trial.Pair.Client is null)
                    await StartAndKillClientAsync(trial);
            }
            await trial.Pair.StartAsync();
            await trial.EndLoadAsync();
            trial.Target.PutsOff = false;
            await trial.DrainAsync();
        }
        return await trial.FinishAsync(amount.Rounds);
    }

    private static async Task KillAsync(Trial trial)
    {
        int which = trial.Random.Next(1, 4);
        if ((which & 1) != 0 && trial.Pair.Server is not null)
            await trial.Pair.KillServerAsync();
        if ((which & 2) != 0 && trial.Pair.Client is not null)
            await trial.Pair.KillClientAsync(trial.Ledger);
    }

    private static async Task StartAndKillClientAsync(Trial trial)
    {
        Task starting = trial.Pair.StartAsync();
        await trial.PauseAsync(50, 500);
        await trial.Pair.KillClientAsync(trial.Ledger);
        try
        {
            await starting;
        }
        catch (Exception e) when (e is TimeoutException or InvalidOperationException)
        {
            // Killed before it had started.
        }
        await trial.Pair.StartAsync();
    }
}
