using System.Globalization;
using Mfrelay.Fuzz;

const string Usage = """
    mfrelay-fuzz TARGET|all [--time SECONDS] [--executions NUMBER] [--seed NUMBER] [--findings DIRECTORY] [--save DIRECTORY]
      runs mutations of the corpus for a time (60 s) or up to a number of executions; finds are written to --findings (default: findings)
      --save writes the smallest inputs that together reach everything to DIRECTORY/corpus/TARGET
    mfrelay-fuzz TARGET --input FILE
      runs one input
    """;

Coverage.Attach();
string name = args.Length > 0 ? args[0] : "";
FuzzTarget[] targets = [.. FuzzTarget.All.Where(target => name is "all" || target.Name == name)];
if (targets.Length == 0 || args.Length % 2 == 0)
{
    Console.Error.WriteLine(Usage);
    Console.Error.WriteLine($"targets: {string.Join(' ', FuzzTarget.All.Select(target => target.Name))}");
    return 64;
}
var options = new Dictionary<string, string>(StringComparer.Ordinal);
for (int i = 1; i < args.Length; i += 2)
    options[args[i]] = args[i + 1];
if (options.GetValueOrDefault("--input") is { } file)
{
    targets[0].Run(File.ReadAllBytes(file));
    Console.WriteLine($"{targets[0].Name}: {file} is no find");
    return 0;
}
if (!Instrumented.IsThis)
    return Instrumented.Run(args);

TimeSpan time = TimeSpan.FromSeconds(Number("--time", 60));
ulong seed = (ulong)Number("--seed", 1);
bool sound = true;
foreach (FuzzTarget target in targets)
{
    using var loop = new FuzzLoop(target, seed, options.GetValueOrDefault("--findings", "findings"));
    sound &= loop.Run(time, Number("--executions", long.MaxValue));
    if (options.GetValueOrDefault("--save") is { } root)
        Console.WriteLine($"{target.Name}: {Corpus.Save(root, target, loop.Distilled())} inputs added to the corpus");
}
return sound ? 0 : 1;

long Number(string option, long otherwise) =>
    options.GetValueOrDefault(option) is { } text ? long.Parse(text, CultureInfo.InvariantCulture) : otherwise;
