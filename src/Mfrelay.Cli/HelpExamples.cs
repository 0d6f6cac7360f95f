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

    private sealed class HelpWithExamples((string Line, string Does)[] examples) : SynchronousCommandLineAction
    {
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
