using System.Globalization;
using Mfrelay.CrashTests;

// mfrelay-crash [MODE ...] [--rounds N] [--seed S] [--messages N]: without a mode, all of them with small numbers. A line or more for each mode,
// its figures and "ok MODE" or "FAILED MODE", and "N passed, N failed" last.
(string Name, Amount Small, Func<Amount, Task<bool>> Run)[] modes =
[
    ("kill", new(20, 1, 0), KillMode.RunAsync),
    ("power-cut", new(10, 1, 0), PowerCutMode.RunAsync),
    ("power-cut-without-fsync", new(3, 1, 0), PowerCutMode.RunWithoutSyncAsync),
    ("pages", new(200, 1, 1500), PagesMode.RunAsync),
    ("spool", new(4, 1, 200), SpoolMode.RunAsync),
    ("full-disk", new(2, 1, 0), FullDiskMode.RunAsync),
    ("soak", new(1, 1, 6000), SoakMode.RunAsync),
    ("database", new(10, 1, 2000), DatabaseMode.RunAsync),
];
int? rounds = null, seed = null, messages = null;
List<string> chosen = [];
for (int i = 0; i < args.Length; i++)
{
    int? value = i + 1 < args.Length && int.TryParse(args[i + 1], CultureInfo.InvariantCulture, out int number) ? number : null;
    switch (args[i])
    {
        case "--rounds" when value is not null: rounds = value; i++; break;
        case "--seed" when value is not null: seed = value; i++; break;
        case "--messages" when value is not null: messages = value; i++; break;
        case var name when Array.Exists(modes, mode => mode.Name == name): chosen.Add(name); break;
        default:
            await Console.Error.WriteLineAsync($"usage: mfrelay-crash [--rounds N] [--seed S] [--messages N] [{string.Join(" | ", modes.Select(mode => mode.Name))}] ...");
            return 2;
    }
}

int passed = 0, failed = 0;
foreach ((string name, Amount small, Func<Amount, Task<bool>> run) in modes.Where(mode => chosen.Count == 0 || chosen.Contains(mode.Name)))
{
    bool good;
    try
    {
        good = await run(new Amount(rounds ?? small.Rounds, seed ?? small.Seed, messages ?? small.Messages));
    }
    catch (Exception e)
    {
        Console.WriteLine($"    {e}");
        good = false;
    }
    if (good)
        passed++;
    else
        failed++;
    Console.WriteLine($"{(good ? "ok" : "FAILED")} {name}");
}
Console.WriteLine($"{passed} passed, {failed} failed");
return failed == 0 ? 0 : 1;
