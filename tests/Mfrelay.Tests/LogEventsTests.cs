using System.Reflection;
using System.Text.RegularExpressions;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>The catalogue of log lines. The texts are what people's monitoring matches: a change here is a break.</summary>
public sealed partial class LogEventsTests
{
    public static TheoryData<string> Codes => [.. All.Select(what => what.Code)];

    private static LogEvent[] All { get; } =
        [.. typeof(LogEvents).GetFields(BindingFlags.Public | BindingFlags.Static).Select(field => field.GetValue(null)).OfType<LogEvent>()];

    [Theory]
    [InlineData("S03", "INFO_a202 メールサーバーの確認を開始します。 192.168.0.1:25(example.com)", "192.168.0.1:25", "example.com")]
    [InlineData("S04", "INFO_a203 メールサーバーの確認が終了しました。 192.168.0.1:25(example.com)", "192.168.0.1:25", "example.com")]
    [InlineData("S05", "WARN_a301 サーバーへの接続に失敗しました。該当のサーバーを使用するメールの送信は行えません。 192.168.0.1:25", "192.168.0.1:25", "example.com")]
    [InlineData("S06", "WARN_a302 サーバー情報取得中にエラーが発生しました。 192.168.0.1:25", "192.168.0.1:25", "example.com")]
    [InlineData("C02", "INFO_b211 接続を行うことができなかったため、確認リストに登録します。確認リストに登録されたメールサーバーを使用したメールの送信は行われません。 example.com(192.168.0.1:25)", "192.168.0.1:25", "example.com")]
    [InlineData("C03", "INFO_b303 メール送信サーバーとの通信中にタイムアウトになりました。ID=9999 Host=192.168.0.1 Port=25", "9999", "192.168.0.1", "25")]
    [InlineData("C06", "INFO_b212 接続の確認を行うことができたため、確認リストから解除します。このメールサーバーを使用してメールの送信を行うことができます。 example.com(192.168.0.1:25)", "192.168.0.1:25", "example.com")]
    public void B04_TheSeedTextsStandInTheCatalogueCharacterForCharacter(string behaviour, string expected, params string[] values)
    {
        Assert.NotEmpty(behaviour);
        LogEvent what = Assert.Single(All, what => expected.StartsWith($"{what.Code} ", StringComparison.Ordinal));
        Assert.Equal(expected, what.Format(Language.Ja, values));
    }

    [Fact]
    public void B04_MailLogWritesTheHealthLinesWithTheSeedTexts()
    {
        var lines = new List<string>();
        using MailLog log = MailLog.ToAction(Language.Ja, (_, line) => lines.Add(line));
        log.Health(new HealthChange(MailServerHealth.Of(HealthOwner.Client, HealthStory.MailServer, default), [LogEvents.CheckStarts, LogEvents.Unlisted]));
        Assert.Equal(
            [
                "INFO_a202 メールサーバーの確認を開始します。 192.168.0.1:25(example.com)",
                "INFO_b212 接続の確認を行うことができたため、確認リストから解除します。このメールサーバーを使用してメールの送信を行うことができます。 example.com(192.168.0.1:25)",
            ],
            lines);
    }

    [Theory]
    [InlineData("a\r\nWARN_a301 b")]
    [InlineData("a\nb")]
    [InlineData("メール\u2028b")]
    [InlineData("a\u0085b")]
    public void A_value_with_a_line_end_does_not_make_a_line_two(string value)
    {
        foreach (object of in new object[] { value, new IOException(value) })
        {
            string line = LogEvents.Unexpected.Format(Language.Ja, ["there", of]);
            Assert.Contains('b', line);
            Assert.Equal(line.ReplaceLineEndings(" "), line);
        }
    }

    [Theory]
    [MemberData(nameof(Codes))]
    public void No_text_of_ours_has_a_line_end(string code)
    {
        LogEvent what = Named(code);
        Assert.Equal(what.Japanese.ReplaceLineEndings(" "), what.Japanese);
        Assert.Equal(what.English.ReplaceLineEndings(" "), what.English);
    }

    [Fact]
    public void B04_EveryCodeIsUnique() => Assert.Equal(All.Length, All.Select(what => what.Code).Distinct(StringComparer.Ordinal).Count());

    [Theory]
    [MemberData(nameof(Codes))]
    public void B04_EveryEventHasBothLanguagesWithTheSamePlaceholders(string code)
    {
        LogEvent what = Named(code);
        Assert.Matches("^(INFO|WARN|ERROR)_[abc][1-9][0-9][0-9]$", code);
        Assert.NotEmpty(what.English);
        Assert.NotEmpty(what.Japanese);
        Assert.Equal(Placeholders(what.Japanese), Placeholders(what.English));
        Assert.Empty(Placeholders(what.English).Except(what.Names, StringComparer.Ordinal));
        Assert.DoesNotContain(what.English, c => c > 126);
    }

    [Theory]
    [MemberData(nameof(Codes))]
    public void B04_EveryEventPutsEachValueInItsPlaceInBothLanguages(string code)
    {
        LogEvent what = Named(code);
        object?[] values = [.. what.Names.Select(name => (object?)$"<{name}>")];
        foreach ((Language language, string text) in new[] { (Language.Ja, what.Japanese), (Language.En, what.English) })
            Assert.Equal($"{code} {Placeholder().Replace(text, "<${name}>")}", what.Format(language, values));
    }

    private static LogEvent Named(string code) => All.Single(what => string.Equals(what.Code, code, StringComparison.Ordinal));

    private static string[] Placeholders(string text) =>
        [.. Placeholder().Matches(text).Select(match => match.Groups["name"].Value).Order(StringComparer.Ordinal)];

    [GeneratedRegex(@"\{(?<name>\w+)\}", RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Placeholder();
}
