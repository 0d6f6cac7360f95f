using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text.Json;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay trace": the life of messages from the event logs of both daemons, from the client's connection to the last reply.</summary>
internal sealed class TraceCommand(CommandContext context)
{
    private readonly Argument<string> _what = new("WHAT")
    {
        Description = "A queue id, a Message-ID with or without its brackets, or the address of a sender or recipient.",
    };

    private readonly Option<string?> _since = new("--since")
    {
        Description = "Only messages that something happened to since then: 2h, 3d, 2026-11-24 or 2026-11-24T10:30.",
        HelpName = "TIME",
    };

    private readonly Option<int> _limit = new("--limit") { Description = "Most messages to show, the newest.", HelpName = "NUMBER", DefaultValueFactory = _ => 1000 };
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command Create()
    {
        var command = new Command("trace", "Show what became of a message, step by step, from the event logs of both daemons (exit status 1: nothing found).")
        {
            _what,
            _since,
            _limit,
            _config,
            _json,
        };
        _since.Validators.Add(Check);
        _what.Validators.Add(argument =>
        {
            if (Plain(argument.Tokens[0].Value).Length == 0)
                argument.AddError(context.LanguageOfHelp.Say("キューID、Message-ID、アドレスのどれかを指定してください", "name a queue id, a Message-ID or an address"));
        });
        command.AddExamples(
            ("mfrelay trace 0cfr2qt5n0800", "a message and its bounce"),
            ("mfrelay trace '<20261124@mail.example.org>'", "by its Message-ID"),
            ("mfrelay trace user@example.com --since 2h", "what was sent by or to somebody, also what was refused"),
            ("mfrelay trace user@example.com --json | jq '.[].events[].reply'", "for a program"));
        command.SetAction((result, _) => Task.FromResult(Run(result)));
        return command;
    }

    private int Run(ParseResult result)
    {
        InvocationConfiguration console = result.InvocationConfiguration;
        if (CommandSupport.LoadSettings(result.GetRequiredValue(_config), console.Error) is not { } settings)
            return ConfigLoad.ExitCode;
        Language language = context.LanguageOf(settings);
        string what = Plain(result.GetRequiredValue(_what));
        DateTimeOffset since = TimeOf(result.GetValue(_since), context.Time) ?? DateTimeOffset.MinValue;
        try
        {
            var files = new EventFiles(settings.LogDirectory);
            List<TracedMessage> messages = TracedMessage.Find(files, what, since, result.GetValue(_limit), out int left);
            if (messages.Count == 0)
                return NothingFound(what, settings, files.Names(since), language, console.Error);
            if (result.GetValue(_json))
                console.Output.WriteJson(messages.Select(message => new { message.Id, Events = message.Events.Select(ToJson) }));
            else
                TraceTable.Write(messages, language, context.Time.LocalTimeZone, console.Output);
            if (left > 0)
            {
                console.Error.Line(language.Say(
                    $"mfrelay: 新しい {messages.Count} 件のみ表示しています。--since または --limit を指定してください",
                    $"mfrelay: only the newest {messages.Count} messages are shown; see --since and --limit"));
            }
            return 0;
        }
        catch (DirectoryNotFoundException)
        {
            return NothingFound(what, settings, [], language, console.Error);
        }
        catch (UnauthorizedAccessException)
        {
            string group = StateAccess.GroupOf(settings.LogDirectory);
            console.Error.Line(language.Say(
                $"mfrelay: ユーザー '{Environment.UserName}' は {settings.LogDirectory} を読み取れません。root またはグループ '{group}' のユーザーで実行してください",
                $"mfrelay: user '{Environment.UserName}' may not read {settings.LogDirectory}; root and users of the group '{group}' may"));
            return CommandSupport.NoRights;
        }
    }

    private static int NothingFound(string what, Settings settings, IReadOnlyList<string> files, Language language, TextWriter error)
    {
        string where = files.Count == 0
            ? language.Say(
                $"{settings.LogDirectory} にイベントログがありません (trace_days = {settings.TraceDays})",
                $"there is no event log of that time in {settings.LogDirectory} (trace_days = {settings.TraceDays})")
            : language.Say(
                $"検索対象: {settings.LogDirectory} の {files[0]} から {files[^1]} まで {files.Count} ファイル",
                $"searched: {files.Count} files in {settings.LogDirectory}, {files[0]} to {files[^1]}");
        error.Line(language.Say($"mfrelay: {what} は見つかりません。{where}", $"mfrelay: nothing about {what}; {where}"));
        return CommandSupport.Failed;
    }

    /// <summary>The line of the log, with who wrote it.</summary>
    public static Dictionary<string, object> ToJson(TraceEvent one)
    {
        var json = new Dictionary<string, object>(StringComparer.Ordinal) { ["process"] = one.Process };
        foreach (JsonProperty property in one.Line.EnumerateObject())
            json[property.Name] = property.Value;
        return json;
    }

    private static string Plain(string what) => what is ['<', .. var inner, '>'] ? inner : what;

    private void Check(OptionResult option)
    {
        if (option.Tokens is [{ Value: var text }] && TimeOf(text, context.Time) is null)
        {
            option.AddError(context.LanguageOfHelp.Say(
                $"{text} は時間ではありません: 30m, 2h, 3d (今から遡る時間) または 2026-11-24, 2026-11-24T10:30 のような日時を指定してください",
                $"{text} is no time: write 30m, 2h or 3d for so long ago, or a date such as 2026-11-24 or 2026-11-24T10:30"));
        }
    }

    private static DateTimeOffset? TimeOf(string? text, TimeProvider time)
    {
        if (Duration.TryParse(text, out TimeSpan ago))
            return time.GetUtcNow() - ago;
        string[] forms = ["yyyy-MM-dd", "yyyy-MM-ddTHH:mm", "yyyy-MM-dd HH:mm", "yyyy-MM-ddTHH:mm:ss", "yyyy-MM-dd HH:mm:ss"];
        return DateTime.TryParseExact(text, forms, CultureInfo.InvariantCulture, DateTimeStyles.None, out DateTime local)
            ? new DateTimeOffset(local, time.LocalTimeZone.GetUtcOffset(local))
            : null;
    }
}

/// <summary>A message with its events, oldest first.</summary>
/// <param name="Id">Null for what was refused before there was one; its events are those of one session.</param>
internal sealed record TracedMessage(string? Id, IReadOnlyList<TraceEvent> Events)
{
    /// <summary>The messages that a value leads to, with those that they led to and came from: bounces and what they are about.</summary>
    /// <param name="limit">Most messages, the newest.</param>
    /// <param name="left">How many older ones there are.</param>
    public static List<TracedMessage> Find(EventFiles files, string what, DateTimeOffset since, int limit, out int left)
    {
        List<TraceEvent> events = [.. files.Find(what, since)];
        List<TraceEvent> without = events.FindAll(hit => hit.Id is null);
        // Ids ascend with time.
        string[] ids = [.. IdsOf(events).Order(StringComparer.Ordinal)];
        left = Math.Max(0, ids.Length - limit);
        var known = new HashSet<string>(StringComparer.Ordinal);
        var all = new List<TraceEvent>();
        for (List<string> next = [.. ids.Skip(left)]; next.Count > 0;)
        {
            known.UnionWith(next);
            IReadOnlyCollection<TraceEvent> found = files.Gather(next);
            all.AddRange(found);
            next = [.. IdsOf(found).Where(id => !known.Contains(id))];
        }
        return
        [
            .. all.Concat(without).GroupBy(one => one.Id ?? one["client"], StringComparer.Ordinal)
                // The client may be as quick as the server is with its line.
                .Select(group => new TracedMessage(group.First().Id, [.. group.OrderBy(one => one.What is not "accepted").ThenBy(one => one.Time)]))
                .OrderBy(message => message.Events[0].Time),
        ];
    }

    private static HashSet<string> IdsOf(IEnumerable<TraceEvent> events) =>
        events.SelectMany(hit => new[] { hit.Id, hit.Notice }).OfType<string>().ToHashSet(StringComparer.Ordinal);
}
