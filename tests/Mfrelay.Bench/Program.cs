using BenchmarkDotNet.Running;
using Mfrelay.Bench;

return args switch
{
    ["fill", .. var rest] => await FillQueue.RunAsync(rest),
    ["checks", .. var rest] => await CheckRound.RunAsync(rest),
    _ => BenchmarkSwitcher.FromAssembly(typeof(CheckRound).Assembly).Run(args, new ShortConfig()).Any(summary => summary.HasCriticalValidationErrors) ? 1 : 0,
};
