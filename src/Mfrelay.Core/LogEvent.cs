using System.Buffers;
using System.Globalization;
using System.Text;

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

    private readonly CompositeFormat _japanese;
    private readonly CompositeFormat _english;

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
        _japanese = Compile(japanese);
        _english = Compile(english);
    }

    public string Code { get; }
    public LogGrade Grade { get; }
    public IReadOnlyList<string> Names { get; }
    public string Japanese { get; }
    public string English { get; }

    /// <summary>The line: code, blank, text. A value with line ends in it does not make it two.</summary>
    public string Format(Language language, ReadOnlySpan<object?> values)
    {
        string line = string.Format(CultureInfo.InvariantCulture, language == Language.Ja ? _japanese : _english, values);
        return HasLineEnd(values) ? line.ReplaceLineEndings(" ") : line;
    }

    /// <summary>Looks at the values alone, since no text of ours has one: that is quick for ASCII, and the Japanese texts are not.</summary>
    private static bool HasLineEnd(ReadOnlySpan<object?> values)
    {
        foreach (object? value in values)
        {
            if (value is string text ? text.AsSpan().ContainsAny(LineEnds) : value is not (null or int or long or QueueId))
                return true;
        }
        return false;
    }

    private CompositeFormat Compile(string text)
    {
        var format = new StringBuilder(Code.Length + text.Length + 8).Append(Code).Append(' ').Append(text);
        for (int i = 0; i < Names.Count; i++)
            format.Replace($"{{{Names[i]}}}", string.Create(CultureInfo.InvariantCulture, $"{{{i}}}"));
        return CompositeFormat.Parse(format.ToString());
    }
}
