using System.CommandLine;
using System.CommandLine.Invocation;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>The command "mfrelay": one line for each group of commands, each in a file of its own.</summary>
internal static class CommandLine
{
    /// <summary>Runs a command line; one that cannot be understood is explained and nothing is done.</summary>
    public static Task<int> RunAsync(IReadOnlyList<string> arguments, CommandContext context, InvocationConfiguration console)
    {
        ParseResult line = Create(context).Parse(arguments);
        // Help and completion are given whatever else stands there.
        bool isChecked = line.Action is ParseErrorAction || ReferenceEquals(line.Action, line.CommandResult.Command.Action);
        string[] mistakes = isChecked ? [.. Mistakes.In(line, context.LanguageOfHelp)] : [];
        if (mistakes.Length == 0)
            return line.InvokeAsync(console);
        foreach (string mistake in mistakes)
            console.Error.Line($"mfrelay: {mistake}");
        return Task.FromResult(CommandSupport.WrongUse);
    }

    /// <param name="context">Null: that of the process.</param>
    public static RootCommand Create(CommandContext? context = null)
    {
        context ??= CommandContext.OfProcess;
        var root = new RootCommand("The mail relay's command: look at its queue, its mail servers and its configuration, change what waits, ask what would happen.")
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
        root.AddExamples(
            ("mfrelay status", "is all well?"),
            ("mfrelay queue", "what waits, and why"),
            ("mfrelay trace user@example.com", "what became of a message"),
            ("mfrelay queue flush --help", "a command's options and examples"));
        root.Options.OfType<VersionOption>().Single().Action = new VersionAction();
        if (context.LanguageOfHelp == Language.Ja)
            HelpExamples.SpeakJapanese(root);
        return root;
    }

    /// <summary>As the daemons say theirs; "mfrelay version" has theirs too.</summary>
    private sealed class VersionAction : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parseResult)
        {
            parseResult.InvocationConfiguration.Output.WriteLine($"mfrelay {RunningDaemon.OwnVersion}");
            return 0;
        }
    }
}
