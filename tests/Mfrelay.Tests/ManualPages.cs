extern alias cli;

using System.CommandLine;
using System.CommandLine.Help;
using System.Reflection;
using System.Text;
using cli::Mfrelay.Cli;
using Mfrelay.Core;

namespace Mfrelay.Tests;

/// <summary>The parts of packaging/man that say what the code says: settings, commands, log lines; in man(7) macros.</summary>
internal static class ManualPages
{
    /// <summary>Every setting: mfrelay.toml(5).</summary>
    public static string Settings()
    {
        var text = new StringBuilder();
        IReadOnlyList<Setting> all = Setting.Of(typeof(Settings));
        text.Append(".SH \"SETTINGS OF ALL\"\n");
        foreach (Setting setting in all.Where(setting => !setting.IsTable))
            AppendSetting(text, setting);
        foreach (Setting table in all.Where(setting => setting.IsTable))
        {
            text.Append($".SH \"{(table.IsList ? $"[[{table.Key}]]" : $"[{table.Key}]")}\"\n{Roff(table.Attribute.Doc)}.\n");
            foreach (Setting setting in Setting.Of(table.Type))
                AppendSetting(text, setting);
        }
        return text.ToString();
    }

    /// <summary>Every command with its arguments, its own options and its examples: mfrelay(1).</summary>
    public static string Commands()
    {
        var text = new StringBuilder();
        foreach (Command command in CommandLine.Create().Subcommands)
            AppendCommand(text, "mfrelay", command);
        return text.ToString();
    }

    /// <summary>The log lines of one process and those of both: mf-smtp-server(8), mf-smtp-client(8).</summary>
    /// <param name="process">'a' or 'b', as in "INFO_a202".</param>
    public static string LogLines(char process)
    {
        var text = new StringBuilder();
        var lines = typeof(LogEvents).GetFields(BindingFlags.Public | BindingFlags.Static).Select(field => field.GetValue(null)).OfType<LogEvent>()
            .Select(line => (Line: line, Number: line.Code[(line.Code.IndexOf('_', StringComparison.Ordinal) + 1)..]))
            .Where(item => item.Number[0] == process || item.Number[0] == 'c')
            .OrderBy(item => item.Number, StringComparer.Ordinal);
        foreach ((LogEvent line, _) in lines)
            text.Append($".TP\n.B {Roff(line.Code)}\n{Roff(line.English)}\n");
        return text.ToString();
    }

    private static void AppendSetting(StringBuilder text, Setting setting)
    {
        string wanted = SettingValue.Wanted(setting);
        string fallback = setting.IsRequired ? "Required."
            : setting.Attribute.DefaultIs is { } inWords ? $"Default: {inWords}."
            : $"Default: {SettingValue.Format(setting.Default!)}.";
        text.Append($".TP\n.B {Roff(setting.Key)}\n{Roff(setting.Attribute.Doc)}.\n.br\n");
        text.Append($"{(setting.IsList ? $"A list in [ ], each item {Roff(wanted)}" : Roff(char.ToUpperInvariant(wanted[0]) + wanted[1..]))}.\n.br\n{Roff(fallback)}\n");
    }

    private static void AppendCommand(StringBuilder text, string parent, Command command)
    {
        string name = $"{parent} {command.Name}";
        text.Append($".SS \"{Roff(string.Join(' ', [name, .. command.Arguments.Select(Shown)]))}\"\n{Roff(command.Description!)}\n");
        foreach (Argument argument in command.Arguments)
            text.Append($".TP\n.I {Roff(argument.Name)}\n{Roff(argument.Description!)}\n");
        foreach (Option option in command.Options.Where(option => option is not HelpOption && option.Name is not ("--config" or "--json")))
        {
            string value = option.HelpName is null ? "" : $" {option.HelpName}";
            text.Append($".TP\n.B {Roff(option.Name + value)}\n{Roff(option.Description!)}\n");
        }
        (string Line, string Does)[] examples = [.. HelpExamples.ExamplesOf(command)];
        if (examples.Length > 0)
            text.Append(".PP\nExamples:\n");
        foreach ((string line, string does) in examples)
            text.Append($".TP\n.B {Roff(line)}\n{Roff(does)}\n");
        foreach (Command below in command.Subcommands)
            AppendCommand(text, name, below);
    }

    private static string Shown(Argument argument)
    {
        string name = argument.Arity.MaximumNumberOfValues > 1 ? $"{argument.Name}..." : argument.Name;
        return argument.Arity.MinimumNumberOfValues == 0 ? $"[{name}]" : name;
    }

    /// <summary>Text as troff takes it: groff would make typographic characters of some ASCII ones, and a line must not look like a request.</summary>
    private static string Roff(string text)
    {
        var roff = new StringBuilder(text.Length);
        foreach (char c in text)
        {
            roff.Append(c switch
            {
                '\\' => "\\e",
                '-' => "\\-",
                '"' => "\\(dq",
                '\'' => "\\(aq",
                '`' => "\\(ga",
                '^' => "\\(ha",
                '~' => "\\(ti",
                _ => c,
            });
        }
        return roff is { Length: > 0 } && roff[0] is '.' ? $"\\&{roff}" : roff.ToString();
    }
}
