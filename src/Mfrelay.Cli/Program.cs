using System.CommandLine;
using Mfrelay.Cli;

// Ctrl-C and SIGTERM cancel what runs; it then has as long as two daemons may take to end.
return await CommandLine.RunAsync(args, CommandContext.OfProcess, new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromSeconds(40) });
