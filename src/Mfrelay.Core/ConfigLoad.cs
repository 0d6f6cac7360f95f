using System.Globalization;

namespace Mfrelay.Core;

/// <summary>What became of reading a config: settings, or every error that was found.</summary>
public sealed record ConfigLoad
{
    /// <summary>EX_CONFIG of sysexits.h: what a process exits with when it has no settings.</summary>
    public const int ExitCode = 78;

    /// <summary>Null when there is any error.</summary>
    public Settings? Settings { get; init; }

    /// <summary>In the order of the files and lines.</summary>
    public required IReadOnlyList<ConfigError> Errors { get; init; }

    /// <summary>What is allowed, and probably not meant.</summary>
    public IReadOnlyList<ConfigError> Warnings { get; init; } = [];
}

/// <summary>One thing that is wrong with a config.</summary>
/// <param name="Line">From 1; 0 when it is about the file as a whole.</param>
/// <param name="Key">"server.max_message_size"; empty when it is about no key.</param>
/// <param name="Message">What is wrong and what is allowed.</param>
public sealed record ConfigError(string File, int Line, string Key, string Message)
{
    public string Key { get; } = OneLine(Key);

    public string Message { get; } = OneLine(Message);

    /// <summary>"/etc/mfrelay/mfrelay.toml:12: server.max_errors: 0 is too small; write an integer from 1 to 10000".</summary>
    public override string ToString()
    {
        string line = Line > 0 ? string.Create(CultureInfo.InvariantCulture, $":{Line}") : "";
        string key = Key.Length > 0 ? $"{Key}: " : "";
        return $"{File}{line}: {key}{Message}";
    }

    // Keys, and what the parser quotes, are the file's own octets: none may command the terminal or end the line of the log.
    private static string OneLine(string text) =>
        text.Any(char.IsControl) ? string.Concat(text.Select(c => char.IsControl(c) ? string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:X4}") : c.ToString())) : text;
}
