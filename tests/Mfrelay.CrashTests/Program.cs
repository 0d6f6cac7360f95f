using System.Globalization;
using Mfrelay.CrashTests;

// mfrelay-crash [--scenario kill|database] [--rounds N] [--seed S]: one line per scenario, then "N passed, N failed".
int rounds = 20;
int seed = 1;
string[] scenarios = ["kill", "database"];
for (int i = 0; i + 1 < args.Length; i += 2)
{
    switch (args[i])
    {
        case "--rounds": rounds = int.Parse(args[i + 1], CultureInfo.InvariantCulture); break;
        case "--seed": seed = int.Parse(args[i + 1], CultureInfo.InvariantCulture); break;
        case "--scenario" when args[i + 1] is "kill" or "database": scenarios = [args[i + 1]]; break;
        default: return Usage();
    }
}
if (args.Length % 2 != 0)
    return Usage();

int failed = 0;
foreach (string scenario in scenarios)
{
    if (!await Scenario.RunAsync(scenario, rounds, seed))
        failed++;
}
Console.WriteLine($"{scenarios.Length - failed} passed, {failed} failed");
return failed == 0 ? 0 : 1;

static int Usage()
{
    Console.Error.WriteLine("usage: mfrelay-crash [--scenario kill|database] [--rounds N] [--seed S]");
    return 2;
}
