using Mfrelay.Cli;

return CommandLine.Create().Parse(args).Invoke();
