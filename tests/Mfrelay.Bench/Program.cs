using BenchmarkDotNet.Running;
using Mfrelay.Bench;

return args switch
{
    ["fill", .. var rest] => await FillQueue.RunAsync(rest),
    ["door", ..] => await DoorLoad.RunAsync(),
    ["checks", .. var rest] => await CheckRound.RunAsync(rest),
    _ => BenchmarkSwitcher.FromAssembly(typeof(CheckRound).Assembly).Run(args, new ShortConfig()).Any(summary => summary.HasCriticalValidationErrors) ? 1 : 0,
};
