using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Mfrelay.Cli;

internal static class HelpExamples
{
    /// <summary>Puts examples at the end of what "--help" prints for a command.</summary>
    /// <param name="examples">Each a command line, and what it does.</param>
    public static void AddExamples(this Command command, params (string Line, string Does)[] examples) =>
        command.Add(new HelpOption { Action = new HelpWithExamples(examples) });

    /// <summary>What <see cref="AddExamples"/> was given: the manual has it too.</summary>
    public static IEnumerable<(string Line, string Does)> ExamplesOf(Command command) =>
        command.Options.Select(option => option.Action).OfType<HelpWithExamples>().SelectMany(help => help.Examples);

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
