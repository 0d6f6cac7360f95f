extern alias cli;

using System.CommandLine;
using cli::Mfrelay.Cli;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>
/// Holds packaging/man against the code: what lies between ".\" From the code" and ".\" By hand" is made from it. After a change of the
/// code, MFRELAY_WRITE_SAMPLE=1 makes the test write those parts anew.
/// </summary>
public sealed class ManualPageTests
{
    private const string Begin = ".\\\" From the code: the tests write it anew with MFRELAY_WRITE_SAMPLE=1\n";
    private const string End = ".\\\" By hand\n";

    [Theory]
    [InlineData("mfrelay.toml.5")]
    [InlineData("mfrelay.1")]
    [InlineData("mf-smtp-server.8")]
    [InlineData("mf-smtp-client.8")]
    public void A_manual_page_says_what_the_code_says(string page)
    {
        string made = page switch
        {
            "mfrelay.toml.5" => ManualPages.Settings(),
            "mfrelay.1" => ManualPages.Commands(),
            "mf-smtp-server.8" => ManualPages.LogLines('a'),
            _ => ManualPages.LogLines('b'),
        };
        string path = PathOf(page), text = File.ReadAllText(path);
        int from = text.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length, to = text.IndexOf(End, StringComparison.Ordinal);
        Assert.True(from >= Begin.Length && to >= from, $"{page} has not both marks");
        if (Environment.GetEnvironmentVariable("MFRELAY_WRITE_SAMPLE") is "1")
            File.WriteAllText(path, text = text[..from] + made + text[to..]);
        Assert.Equal(text[..from] + made, text[..(from + made.Length)]);
        Assert.StartsWith(End, text[(from + made.Length)..], StringComparison.Ordinal);
    }

    [Fact]
    public void The_manual_has_every_setting_and_every_command()
    {
        string settings = File.ReadAllText(PathOf("mfrelay.toml.5")), commands = File.ReadAllText(PathOf("mfrelay.1"));
        Assert.All(Setting.Of(typeof(Settings)).SelectMany(setting => setting.IsTable ? Setting.Of(setting.Type) : [setting]),
            setting => Assert.Contains($"\n.B {setting.Key}\n", settings, StringComparison.Ordinal));
        Assert.All(Paths(CommandLine.Create(), "mfrelay"), path => Assert.Contains($"\n.SS \"{path.Replace("-", "\\-", StringComparison.Ordinal)}", commands, StringComparison.Ordinal));
    }

    [Fact]
    public void The_example_in_the_manual_is_a_good_config()
    {
        string page = File.ReadAllText(PathOf("mfrelay.toml.5"));
        string example = page[(page.IndexOf(".EX\n", StringComparison.Ordinal) + 4)..page.IndexOf(".EE\n", StringComparison.Ordinal)];
        Assert.Equal(3, ConfigDirectory.Settings(example).MailServers.Count);
    }

    private static IEnumerable<string> Paths(Command command, string path) =>
        command.Subcommands.SelectMany(below => Paths(below, $"{path} {below.Name}").Prepend($"{path} {below.Name}"));

    private static string PathOf(string page) => Path.Join(ConfigSampleTests.RepositoryRoot(), "packaging", "man", page);
}
