namespace Mfrelay.CrashTests;

/// <summary>
/// A small file system for the state, and a mail server that is down: at server.min_free_space the source hears 452 4.3.1 and nothing else, when the mail
/// server is back the queue frees the room, and accepting goes on by itself.
/// </summary>
internal static class FullDiskMode
{
    private const long MinFree = 24L << 20;

    public static async Task<bool> RunAsync(Amount amount)
    {
        string mounted = "";
        using var trial = new Trial("full disk", amount.Seed, root =>
        {
            mounted = Path.Join(root, "small");
            Disk.MountMemory(mounted, "44m");
            return (mounted, () => Disk.TryUnmount(mounted));
        }, server: "min_free_space = \"24MiB\"", maxSize: 300_000);
        await trial.Pair.StartAsync();
        for (int round = 0; round < amount.Rounds; round++)
            await RoundAsync(trial, mounted, round);
        return await trial.FinishAsync(amount.Rounds, $", refused {trial.Source.Refused}, waited for room {trial.Pair.Count("WARN_c305") + trial.Pair.Count("WARN_b107")}");
    }

    private static async Task RoundAsync(Trial trial, string mounted, int round)
    {
        trial.Target.Stop();
        int refused = trial.Source.Refused;
        trial.BeginLoad();
        for (int i = 0; i < 600 && trial.Source.Refused < refused + 50; i++)
            await Task.Delay(50);
        if (trial.Source.Refused < refused + 50)
            trial.Wrong($"round {round}: no 452 4.3.1");
        long free = new DriveInfo(mounted).AvailableFreeSpace;
        if (free < MinFree / 2)
            trial.Wrong($"round {round}: refused only when {free >> 10} KiB were left");
        trial.Target.Start();
        int acknowledged = trial.Ledger.Acknowledged;
        for (int i = 0; i < 600 && trial.Ledger.Acknowledged < acknowledged + 200; i++)
            await Task.Delay(50);
        if (trial.Ledger.Acknowledged < acknowledged + 200)
            trial.Wrong($"round {round}: accepting did not go on");
        await trial.EndLoadAsync();
        await trial.DrainAsync();
        if (trial.Ledger.Arrived == 0)
            trial.Wrong($"round {round}: nothing came");
    }
}
