using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Mfrelay.Cli;

internal static class HelpExamples
{
    /// <summary>Puts examples at the end of what "--help" prints for a command.</summary>
    /// <param name="examples">Each a command line, and what it does.</param>
    public static void AddExamples(this Command command, params (string Line, string Does)[] examples)
    {
        HelpOption? own = command.Options.OfType<HelpOption>().FirstOrDefault();
        if (own is null)
            command.Add(own = new HelpOption());
        own.Action = new HelpWithExamples(examples);
    }

    /// <summary>What <see cref="AddExamples"/> was given: the manual has it too.</summary>
    public static IEnumerable<(string Line, string Does)> ExamplesOf(Command command) =>
        command.Options.Select(option => option.Action).OfType<HelpWithExamples>().SelectMany(help => help.Examples);

    /// <summary>Has help speak Japanese, for a command and those below it.</summary>
    public static void SpeakJapanese(Command command)
    {
        JapaneseHelp.Apply(command);
        foreach (HelpOption help in Below(command).SelectMany(one => one.Options).OfType<HelpOption>())
            help.Action = new JapaneseAction(help.Action!);
    }

    private static IEnumerable<Command> Below(Command command) => command.Subcommands.SelectMany(Below).Prepend(command);

    /// <summary>Headings stand at the beginning of a line, what examples do at its end, behind two blanks.</summary>
    private sealed class JapaneseAction(CommandLineAction english) : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            InvocationConfiguration console = parseResult.InvocationConfiguration;
            TextWriter output = console.Output;
            using var text = new StringWriter();
            console.Output = text;
            int exit = ((SynchronousCommandLineAction)english).Invoke(parseResult);
            console.Output = output;
            output.Write(string.Join('\n', text.ToString().Replace("[default: ", "[既定値: ", StringComparison.Ordinal).Split('\n').Select(Translated)));
            return exit;
        }

        private static string Translated(string line)
        {
            int end = line.LastIndexOf("  ", StringComparison.Ordinal) + 2;
            return end < 2 ? JapaneseHelp.Of(line) : line[..end] + JapaneseHelp.Of(line[end..]);
        }
    }

    private sealed class HelpWithExamples((string Line, string Does)[] examples) : SynchronousCommandLineAction
    {
        public IReadOnlyList<(string Line, string Does)> Examples => examples;

        private readonly HelpAction _help = new();

        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            int exit = _help.Invoke(parseResult);
            TextWriter output = parseResult.InvocationConfiguration.Output;
            output.WriteLine("Examples:");
            int width = examples.Max(example => example.Line.Length);
            foreach ((string line, string does) in examples)
                output.WriteLine($"  {line.PadRight(width)}  {does}");
            return exit;
        }
    }
}
