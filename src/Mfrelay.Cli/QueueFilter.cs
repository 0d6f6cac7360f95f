using System.CommandLine;
using System.CommandLine.Parsing;
using System.IO.Enumeration;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>Where a delivery stands.</summary>
internal enum QueueState
{
    /// <summary>An operator holds it.</summary>
    Held,

    /// <summary>Its next attempt is in the future.</summary>
    Deferred,

    /// <summary>It may be tried now.</summary>
    Due,
}

/// <summary>Which deliveries of the queue a command is about; what is null or empty does not narrow it.</summary>
internal sealed record QueueFilter
{
    public IReadOnlySet<QueueId> Ids { get; init; } = new HashSet<QueueId>();

    /// <summary>The route, or the domain of a recipient.</summary>
    public string? Domain { get; init; }

    /// <summary>"&lt;&gt;": the null reverse-path.</summary>
    public string? Sender { get; init; }
    public string? Recipient { get; init; }
    public TimeSpan OlderThan { get; init; }
    public QueueState? State { get; init; }

    public bool Matches(Delivery row, DateTimeOffset now) =>
        row.Order != Order.Delete
        && (Ids.Count == 0 || Ids.Contains(row.Id))
        && (Domain is null || Like(Domain, row.Route) || row.Recipients.Any(recipient => Like(Domain, DomainOf(recipient.ForwardPath))))
        && (Sender is null || Like(Sender is "<>" ? "" : Sender, row.ReversePath))
        && (Recipient is null || row.Recipients.Any(recipient => Like(Recipient, recipient.ForwardPath)))
        && now - row.Arrival >= OlderThan
        && (State is null || StateOf(row, now) == State);

    public static QueueState StateOf(Delivery row, DateTimeOffset now) =>
        row.Hold ? QueueState.Held : row.NextAttempt > now ? QueueState.Deferred : QueueState.Due;

    public static string DomainOf(string address) => address[(address.LastIndexOf('@') + 1)..];

    /// <summary>As a whole, upper and lower case alike; "*" stands for any characters, "?" for one. The default route "*" is only itself.</summary>
    private static bool Like(string pattern, string text) =>
        pattern.AsSpan().ContainsAny('*', '?') && pattern is not "*"
            ? FileSystemName.MatchesSimpleExpression(pattern, text)
            : string.Equals(pattern, text, StringComparison.OrdinalIgnoreCase);
}

/// <summary>The filter as options of a command.</summary>
internal sealed class QueueFilterOptions(CommandContext context)
{
    private readonly Argument<QueueId[]> _ids = new("ID")
    {
        Description = "Queue ids; none: all that the options let through.",
        Arity = ArgumentArity.ZeroOrMore,
        CustomParser = result => [.. result.Tokens.Select(token => context.IdOf(token.Value, result))],
    };

    private readonly Option<string?> _domain = new("--domain") { Description = "Route or recipient's domain; * and ? stand for characters.", HelpName = "DOMAIN" };
    private readonly Option<string?> _sender = new("--sender") { Description = "Reverse-path; * and ? stand for characters, <> is the empty one.", HelpName = "ADDRESS" };
    private readonly Option<string?> _recipient = new("--recipient") { Description = "A forward-path; * and ? stand for characters.", HelpName = "ADDRESS" };

    private readonly Option<TimeSpan> _olderThan = new("--older-than")
    {
        Description = "In the queue for at least so long: 30m, 4h, 2d.",
        HelpName = "TIME",
        CustomParser = context.DurationOf,
    };

    private readonly Option<QueueState?> _state =
        new Option<QueueState?>("--state") { Description = "Where it stands; deferred waits for its next attempt, due may be tried now." }.WithWords();

    public void AddTo(Command command)
    {
        command.Add(_ids);
        command.Add(_domain);
        command.Add(_sender);
        command.Add(_recipient);
        command.Add(_olderThan);
        command.Add(_state);
    }

    public QueueFilter Of(ParseResult result) => new()
    {
        Ids = (result.GetValue(_ids) ?? []).ToHashSet(),
        Domain = result.GetValue(_domain),
        Sender = result.GetValue(_sender),
        Recipient = result.GetValue(_recipient),
        OlderThan = result.GetValue(_olderThan),
        State = result.GetValue(_state),
    };
}

/// <summary>Values on the command line that are more than text.</summary>
internal static class CommandValues
{
    public static QueueId IdOf(this CommandContext context, string text, ArgumentResult result)
    {
        if (!QueueId.TryParse(text, out QueueId id))
        {
            result.AddError(context.LanguageOfHelp.Say(
                $"{text} はキューIDではありません: ログや Received フィールドにある {QueueId.Length} 文字を指定してください",
                $"{text} is no queue id: those have {QueueId.Length} characters, as in the log and in Received fields"));
        }
        return id;
    }

    public static TimeSpan DurationOf(this CommandContext context, ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (!Duration.TryParse(text, out TimeSpan span))
        {
            result.AddError(context.LanguageOfHelp.Say(
                $"{text} は時間ではありません: 30m, 4h, 2d のように数と単位を指定してください",
                $"{text} is no time: write a number and a unit, such as 30m, 4h or 2d"));
        }
        return span;
    }
}
