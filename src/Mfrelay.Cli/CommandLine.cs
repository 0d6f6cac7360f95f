using System.CommandLine;

namespace Mfrelay.Cli;

/// <summary>The command "mfrelay": one line for each group of commands, each in a file of its own.</summary>
internal static class CommandLine
{
    /// <param name="context">Null: that of the process.</param>
    public static RootCommand Create(CommandContext? context = null)
    {
        context ??= CommandContext.OfProcess;
        return new("The mail relay's command: look at its queue, its mail servers and its configuration, change what waits, ask what would happen.")
        {
            ConfigCommand.Create(context),
            new QueueCommand(context).Create(),
            new TraceCommand(context).Create(),
            new HealthCommand(context).Create(),
            new DrainCommand(context).CreateDrain(),
            new DrainCommand(context).CreateResume(),
            new RouteCommand(context).Create(),
            new StatusCommand(context).CreateStatus(),
            new TopCommand(context).Create(),
            new StatusCommand(context).CreateVersion(),
            new SendCommand(context).Create(),
            new ReloadCommand(context).Create(),
            new UserCommand(context).Create(),
            new SimulateCommand(context).Create(),
            DemoCommand.Create(),
        };
    }
}
