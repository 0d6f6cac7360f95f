using System.CommandLine;

namespace Mfrelay.Cli;

/// <summary>The command "mfrelay": one line for each group of commands, each in a file of its own.</summary>
internal static class CommandLine
{
    public static RootCommand Create() => new("The mail relay's command: look at its configuration, see it work.")
    {
        ConfigCommand.Create(),
        DemoCommand.Create(),
    };
}
