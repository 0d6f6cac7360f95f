using System.CommandLine;
using Mfrelay.Cli;

// Ctrl-C and SIGTERM cancel what runs; it then has as long as two daemons may take to end.
return await CommandLine.Create().Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromSeconds(40) });
