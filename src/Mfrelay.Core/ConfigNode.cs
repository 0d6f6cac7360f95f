using System.Globalization;
using System.Text;

namespace Mfrelay.Core;

/// <summary>Where something stands in a config.</summary>
/// <param name="Line">From 1.</param>
internal readonly record struct ConfigPlace(string File, int Line);

/// <summary>A TOML value with its place: what is left of a file when comments and ways of writing are gone.</summary>
internal abstract record ConfigNode(ConfigPlace Place)
{
    /// <summary>"50 is an integer": how an error text shows a value of the wrong type.</summary>
    public abstract string Described { get; }
}

/// <param name="Value">string, long, bool or double; null for a date, which no setting is.</param>
/// <param name="Raw">As the file has it.</param>
internal sealed record ConfigScalar(ConfigPlace Place, object? Value, string Raw) : ConfigNode(Place)
{
    private const int LongestShown = 60;

    /// <summary>The value for an error text: on one line, without control characters, not endless.</summary>
    public string Shown => Value is string text ? $"\"{Printable(text)}\"" : Printable(Raw);

    public override string Described => Value switch
    {
        string => $"{Shown} is a string",
        long => $"{Shown} is an integer",
        bool => $"{Shown} is a boolean",
        double => $"{Shown} is a float",
        _ => $"{Shown} is a date or time",
    };

    private static string Printable(string text)
    {
        var shown = new StringBuilder();
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (shown.Length >= LongestShown)
                return shown.Append("...").ToString();
            if (Rune.IsControl(rune))
                shown.Append(CultureInfo.InvariantCulture, $"\\u{rune.Value:X4}");
            else
                shown.Append(rune.ToString());
        }
        return shown.ToString();
    }
}

internal sealed record ConfigArray(ConfigPlace Place) : ConfigNode(Place)
{
    public List<ConfigNode> Items { get; } = [];

    public override string Described => Items is [ConfigTable, ..] ? "[[...]] is an array of tables" : "[...] is a list";
}

internal sealed record ConfigTable(ConfigPlace Place) : ConfigNode(Place)
{
    private readonly Dictionary<string, ConfigNode> _byKey = new(StringComparer.Ordinal);

    /// <summary>In the order of the file.</summary>
    public List<KeyValuePair<string, ConfigNode>> Entries { get; } = [];

    public override string Described => "this is a table";

    public ConfigNode? Find(string key) => _byKey.GetValueOrDefault(key);

    /// <summary>Adds what is not there yet; a key that is there twice was refused by the TOML parser.</summary>
    public void Add(string key, ConfigNode node)
    {
        if (_byKey.TryAdd(key, node))
            Entries.Add(new(key, node));
    }
}
