using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>What is wrong with a command line, a line for each mistake: the word, and the one that was meant or where those are listed.</summary>
internal static class Mistakes
{
    public static IEnumerable<string> In(ParseResult line, Language language)
    {
        string path = PathOf(line.CommandResult);
        string[] strange = [.. line.UnmatchedTokens.Concat(TakenForArguments(line)).Distinct(StringComparer.Ordinal)];
        if (strange.Length > 0)
        {
            // What else is wrong comes of these.
            foreach (string word in strange)
                yield return $"{Unknown(word, line.CommandResult.Command, language)}{Meant(word, line.CommandResult, path, language)}";
            yield break;
        }
        foreach (ParseError error in line.Errors)
        {
            yield return error.SymbolResult switch
            {
                OptionResult { Option: var option, Tokens: [] } => language.Say(
                    $"{option.Name} に {option.HelpName ?? "値"} がありません", $"{option.Name}: {option.HelpName ?? "a value"} is missing"),
                OptionResult { Option: var option, Tokens: [{ Value: var value }, ..] } => Value(option, value, language) ?? error.Message,
                ArgumentResult { Argument: var argument, Tokens: [] } => language.Say(
                    $"{argument.Name} がありません (使い方: {path} --help)", $"{argument.Name} is missing; {path} --help says what it is"),
                CommandResult { Command: { Subcommands: { Count: > 0 } commands, Action: null } } => language.Say(
                    $"コマンドを指定してください: {List(commands)} (説明: {path} --help)", $"name a command: {List(commands)}; {path} --help explains them"),
                CommandResult { Command.Arguments: [var missing, ..] } when line.Errors.Count == 1 => language.Say(
                    $"{missing.Name} がありません (使い方: {path} --help)", $"{missing.Name} is missing; {path} --help says what it is"),
                _ => error.Message,
            };
        }
    }

    /// <summary>An argument takes whatever stands there, an option that was spelt wrong too; what stands behind "--" is meant so.</summary>
    private static IEnumerable<string> TakenForArguments(ParseResult line) =>
        line.Tokens.Any(token => token.Type == TokenType.DoubleDash) ? [] : line.CommandResult.Children.OfType<ArgumentResult>()
            .SelectMany(argument => argument.Tokens).Select(token => token.Value).Where(value => value is ['-', _, ..]);

    private static string Unknown(string word, Command command, Language language) =>
        word is ['-', ..] ? language.Say($"{word} というオプションはありません", $"there is no option {word}")
        : command.Subcommands.Count > 0 ? language.Say($"{word} というコマンドはありません", $"there is no command {word}")
        : language.Say($"{word} は余分です", $"{word} is one word too many");

    private static string Meant(string word, CommandResult result, string path, Language language)
    {
        IEnumerable<string> known = word is ['-', ..] ? result.Command.Options.Select(option => option.Name) : result.Command.Subcommands.Select(command => command.Name);
        return UnknownKey.Nearest(word, known) is { } near
            ? language.Say($"。{near} のことですか?", $"; did you mean {near}?")
            : language.Say($" (使い方: {path} --help)", $"; see {path} --help");
    }

    /// <summary>Null: it is of the right kind, so the option itself says what it does not like about it.</summary>
    private static string? Value(Option option, string value, Language language)
    {
        string[] words = [.. CommandSupport.Words(option)];
        if (words.Length > 0)
        {
            return language.Say($"{option.Name} に {value} は使えません: {string.Join(", ", words)} のどれかを指定してください",
                $"{option.Name}: {value} is none of {string.Join(", ", words)}");
        }
        bool isNumber = (Nullable.GetUnderlyingType(option.ValueType) ?? option.ValueType) == typeof(int);
        return isNumber && !int.TryParse(value, NumberStyles.Integer, CultureInfo.InvariantCulture, out _)
            ? language.Say($"{option.Name} に {value} は使えません: 整数を指定してください", $"{option.Name}: {value} is no whole number")
            : null;
    }

    private static string List(IEnumerable<Command> commands) => string.Join(", ", commands.Select(command => command.Name));

    private static string PathOf(CommandResult result) =>
        result.Parent is CommandResult parent ? $"{PathOf(parent)} {result.Command.Name}" : "mfrelay";
}
