extern alias cli;

using System.CommandLine;
using cli::Mfrelay.Cli;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>Command lines that cannot be understood, and help.</summary>
public sealed class CommandLineTests : IDisposable
{
    private readonly CommandRun _run = new("");

    public void Dispose() => _run.Dispose();

    [Theory]
    [InlineData("queeu", "there is no command queeu; did you mean queue?")]
    [InlineData("queue lst", "there is no command lst; did you mean list?")]
    [InlineData("frobnicate", "there is no command frobnicate; see mfrelay --help")]
    [InlineData("config", "name a command: check, show, diff; mfrelay config --help explains them")]
    [InlineData("status now", "now is one word too many; see mfrelay status --help")]
    [InlineData("queue list --jsn", "there is no option --jsn; did you mean --json?")] // not a queue id
    [InlineData("queue list --bogus 1", "there is no option --bogus; see mfrelay queue list --help")]
    [InlineData("trace --sinc", "there is no option --sinc; did you mean --since?")]
    [InlineData("queue show", "ID is missing; mfrelay queue show --help says what it is")]
    [InlineData("queue list --domain", "--domain: DOMAIN is missing")]
    [InlineData("queue list --limit few", "--limit: few is no whole number")]
    [InlineData("queue list --state stuck", "--state: stuck is none of held, deferred, due")]
    [InlineData("queue list --older-than soon", "soon is no time: write a number and a unit, such as 30m, 4h or 2d")]
    [InlineData("queue delete 12", "12 is no queue id: those have 13 characters, as in the log and in Received fields")]
    public void Wrong_use_is_exit_64_and_a_line_that_helps(string line, string said)
    {
        Assert.Equal(64, _run.InvokeAlone(line.Split(' ')));
        Assert.Equal("", _run.Output);
        Assert.Equal($"mfrelay: {said}", _run.Error.Split('\n')[0]);
    }

    [Theory]
    [InlineData("queeu", "queeu というコマンドはありません。queue のことですか?")]
    [InlineData("queue show", "ID がありません (使い方: mfrelay queue show --help)")]
    [InlineData("queue list --state stuck", "--state に stuck は使えません: held, deferred, due のどれかを指定してください")]
    public void In_Japanese_too(string line, string said)
    {
        _run.Environment["LANG"] = "ja_JP.UTF-8";
        Assert.Equal(64, _run.InvokeAlone(line.Split(' ')));
        Assert.Equal($"mfrelay: {said}\n", _run.Error);
    }

    [Fact]
    public void What_stands_behind_two_dashes_is_no_option()
    {
        Assert.Equal(1, _run.InvokeAlone("route", "--config", _run.Config, "--", "-odd@example.com")); // understood: no route
        Assert.StartsWith("recipient  -odd@example.com", _run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void The_version_is_named_as_the_daemons_name_theirs()
    {
        Assert.Equal(0, _run.InvokeAlone("--version"));
        Assert.Matches("^mfrelay [0-9.]+\n$", _run.Output);
    }

    [Fact]
    public void Every_help_has_examples_and_every_text_of_it_is_known_in_Japanese()
    {
        Command[] commands = [.. All(CommandLine.Create())];
        Assert.All(commands, command => Assert.NotEmpty(HelpExamples.ExamplesOf(command)));
        HashSet<string> texts =
        [
            "Description:", "Usage:", "Arguments:", "Options:", "Commands:", "Examples:",
            .. commands.SelectMany(command => command.Arguments.Concat<Symbol>(command.Options).Append(command)).Select(symbol => symbol.Description!),
            .. commands.SelectMany(HelpExamples.ExamplesOf).Select(example => example.Does),
        ];
        Assert.Equal(texts.Order(StringComparer.Ordinal), JapaneseHelp.Known.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Help_is_Japanese_by_locale()
    {
        _run.Environment["LANG"] = "ja_JP.UTF-8";
        Assert.Equal(0, _run.InvokeAlone("queue", "hold", "--help"));
        Assert.Contains("説明:\n  解除するまで送信せずにキューに保留する", _run.Output, StringComparison.Ordinal);
        Assert.Contains(" 設定ファイル [既定値: /etc/mfrelay/mfrelay.toml]\n", _run.Output, StringComparison.Ordinal);
        Assert.Contains("例:\n  mfrelay queue hold 0cfr2qt5n0800                         1通\n", _run.Output, StringComparison.Ordinal);
    }

    private static IEnumerable<Command> All(Command command) => command.Subcommands.SelectMany(All).Prepend(command);
}
