using System.CommandLine;

namespace Mfrelay.Cli;

/// <summary>The command "mfrelay": one line for each group of commands, each in a file of its own.</summary>
internal static class CommandLine
{
    /// <param name="context">Null: that of the process.</param>
    public static RootCommand Create(CommandContext? context = null)
    {
        context ??= CommandContext.OfProcess;
        return new("The mail relay's command: look at its configuration and its mail servers, ask what would happen, see it work.")
        {
            ConfigCommand.Create(),
            new HealthCommand(context).Create(),
            new RouteCommand(context).Create(),
            new ReloadCommand(context).Create(),
            new UserCommand(context).Create(),
            new SimulateCommand(context).Create(),
            DemoCommand.Create(),
        };
    }
}
