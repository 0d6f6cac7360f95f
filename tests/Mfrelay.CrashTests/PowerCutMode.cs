namespace Mfrelay.CrashTests;

/// <summary>
/// The state directory on a <see cref="Disk"/>: at a random moment under load a picture of it is taken, the pair is killed and started on the
/// picture. Everything acknowledged before must have come by then, or come now.
/// </summary>
internal static class PowerCutMode
{
    public static async Task<bool> RunAsync(Amount amount) => await RunAsync(amount, withoutSync: false);

    /// <summary>The same without fsync, which must be reported as losses.</summary>
    public static async Task<bool> RunWithoutSyncAsync(Amount amount)
    {
        bool good = await RunAsync(amount, withoutSync: true);
        Console.WriteLine(good ? "    the harness does not notice that fsync is missing" : "    reported, as it has to be");
        return !good;
    }

    private static async Task<bool> RunAsync(Amount amount, bool withoutSync)
    {
        Disk disk = null!;
        using var trial = new Trial(withoutSync ? "power cut without fsync" : "power cut", amount.Seed, root =>
        {
            disk = new Disk(root);
            return (disk.Root, disk.Dispose);
        }, withoutSync: withoutSync, laterEvery: 2);
        await trial.Pair.StartAsync();
        for (int round = 0; round < amount.Rounds; round++)
        {
            trial.Target.PutsOff = true;
            trial.BeginLoad();
            await trial.PauseAsync(100, 1500);
            (long from, long to) = disk.Picture();
            await Task.WhenAll(trial.Pair.KillServerAsync(), trial.Pair.KillClientAsync(trial.Ledger));
            await trial.EndLoadAsync();
            // What the target still had to read.
            await Task.Delay(100);
            trial.Ledger.PowerCut(from, to);
            disk.UsePicture();
            trial.Target.PutsOff = false;
            await trial.Pair.StartAsync();
            await trial.DrainAsync();
            if (withoutSync && trial.Ledger.Judge().Lost > 0)
                break;
        }
        return await trial.FinishAsync(amount.Rounds, expectEmpty: !withoutSync);
    }
}
