using System.Buffers;
using System.Globalization;
using System.Runtime.CompilerServices;

namespace Mfrelay.Core;

/// <summary>How grave a line is; the journal's priority follows from it (info 6, warning 4, error 3).</summary>
public enum LogGrade
{
    Info,
    Warning,
    Error,
}

/// <summary>
/// One entry of the closed catalogue of log lines: a stable code and its text in both languages. Operators' monitoring matches codes and
/// texts, so both are an interface (B4). Placeholders are named; the names say which journal field a value belongs to.
/// </summary>
public sealed class LogEvent
{
    /// <summary>Those of <see cref="string.ReplaceLineEndings()"/>.</summary>
    private static readonly SearchValues<char> LineEnds = SearchValues.Create("\r\n\f\u0085\u2028\u2029");

    private readonly Part[] _japanese;
    private readonly Part[] _english;

    /// <param name="code">"INFO_a203": grade, process (a server, b client, c both), number.</param>
    /// <param name="names">The values in the order in which they are given.</param>
    public LogEvent(string code, string[] names, string japanese, string english)
    {
        (Code, Names, Japanese, English) = (code, names, japanese, english);
        Grade = code[..code.IndexOf('_', StringComparison.Ordinal)] switch
        {
            "INFO" => LogGrade.Info,
            "WARN" => LogGrade.Warning,
            "ERROR" => LogGrade.Error,
            _ => throw new ArgumentException($"no such grade: {code}", nameof(code)),
        };
        _japanese = Compile(japanese, names);
        _english = Compile(english, names);
    }

    public string Code { get; }
    public LogGrade Grade { get; }

    /// <summary>Of the journal and of sd-daemon(3).</summary>
    public string Priority => Grade switch
    {
        LogGrade.Info => "6",
        LogGrade.Warning => "4",
        LogGrade.Error => "3",
    };

    public IReadOnlyList<string> Names { get; }
    public string Japanese { get; }
    public string English { get; }

    /// <summary>The line: code, blank, text. A value with line ends in it does not make it two.</summary>
    public string Format(Language language, ReadOnlySpan<object?> values) => Format(PartsOf(language), values);

    /// <summary>The line for many values of one placeholder: what stands before that and behind it.</summary>
    /// <param name="value">Which of the values it is.</param>
    public (string Before, string After) FormatAround(Language language, ReadOnlySpan<object?> values, int value)
    {
        Part[] parts = PartsOf(language);
        int at = Array.FindIndex(parts, part => part.Value == value);
        return (Format(parts.AsSpan(0, at), values) + parts[at].Text, Format(parts.AsSpan(at + 1), values));
    }

    /// <summary>A value as it stands in a line.</summary>
    public static string OneLine(string text) => text.AsSpan().ContainsAny(LineEnds) ? text.ReplaceLineEndings(" ") : text;

    private Part[] PartsOf(Language language) => language == Language.Ja ? _japanese : _english;

    private static string Format(ReadOnlySpan<Part> parts, ReadOnlySpan<object?> values)
    {
        var line = new DefaultInterpolatedStringHandler(0, 0, CultureInfo.InvariantCulture, stackalloc char[512]);
        foreach (Part part in parts)
        {
            line.AppendLiteral(part.Text);
            if (part.Value < 0)
                continue;
            switch (values[part.Value])
            {
                case string text:
                    line.AppendLiteral(OneLine(text));
                    break;
                case QueueId id:
                    line.AppendFormatted(id);
                    break;
                case int number:
                    line.AppendFormatted(number);
                    break;
                case long number:
                    line.AppendFormatted(number);
                    break;
                case var other:
                    line.AppendLiteral(OneLine(string.Create(CultureInfo.InvariantCulture, $"{other}")));
                    break;
            }
        }
        return line.ToStringAndClear();
    }

    private Part[] Compile(string text, string[] names)
    {
        List<Part> parts = [];
        string rest = $"{Code} {text}";
        for (int open; (open = rest.IndexOf('{', StringComparison.Ordinal)) >= 0;)
        {
            int close = rest.IndexOf('}', open);
            int value = Array.IndexOf(names, rest[(open + 1)..close]);
            if (value < 0)
                throw new ArgumentException($"{Code}: no value for {rest[open..(close + 1)]}", nameof(text));
            parts.Add(new Part(rest[..open], value));
            rest = rest[(close + 1)..];
        }
        parts.Add(new Part(rest, -1));
        return [.. parts];
    }

    /// <summary>Some of the text, and the value behind it; -1 when there is none.</summary>
    private readonly record struct Part(string Text, int Value);
}
