using System.Globalization;
using Tomlyn;
using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace Mfrelay.Core;

/// <summary>From the text of one TOML file to its <see cref="ConfigTable"/>; the only file that knows the TOML library.</summary>
internal static class ConfigSyntax
{
    /// <returns>Null when the text is not TOML, with an error for each line that is wrong.</returns>
    public static ConfigTable? Parse(string file, string text, List<ConfigError> errors)
    {
        DocumentSyntax document;
        try
        {
            document = SyntaxParser.Parse(text, file);
        }
        catch (TomlException e)
        {
            // Nesting deeper than the library's own limit comes this way, without diagnostics.
            errors.Add(new(file, (int)(e.Line ?? 0), "", Explain(e.Message)));
            return null;
        }
        catch (ArgumentOutOfRangeException)
        {
            // The library fails so, without a place, at an escape that names no character or is cut off by the end of the file.
            errors.Add(new(file, FirstBadEscape(text), "", "not TOML: this \\u or \\U names no character; write one from \\U00000000 to \\U0010FFFF"));
            return null;
        }
        if (!document.HasErrors)
            return TableOf(document, file, errors);
        errors.AddRange(document.Diagnostics
            .Where(diagnostic => diagnostic.Kind == DiagnosticMessageKind.Error)
            .GroupBy(diagnostic => diagnostic.Span.Start.Line)
            .Select(line => new ConfigError(file, line.Key + 1, "", Explain(line.First().Message))));
        return null;
    }

    /// <summary>The line of the first escape that is no character; 0 when there is none.</summary>
    private static int FirstBadEscape(string text)
    {
        int line = 1;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '\n')
                line++;
            if (text[i] == '\\' && i + 1 < text.Length && (text[i + 1] is 'u' or 'U') && IsBadCodePoint(text.AsSpan(i + 2), text[i + 1] == 'u' ? 4 : 8))
                return line;
        }
        return 0;
    }

    private static bool IsBadCodePoint(ReadOnlySpan<char> digits, int length) =>
        digits.Length < length || !uint.TryParse(digits[..length], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint value)
        || !System.Text.Rune.IsValid(value);

    // The usual slip is a text without quotes (50MB, 5m, yes), for which the parser has only words about tokens.
    private static string Explain(string message) =>
        message.Contains("for a value", StringComparison.Ordinal) || message.EndsWith("expecting token `newline`", StringComparison.Ordinal)
            ? $"not TOML: {message}; write texts, sizes and durations in quotes, and one setting per line"
            : $"not TOML: {message}";

    /// <summary>What the library lets through although it contradicts itself (a key that is a value and a table) is an error, and left out.</summary>
    private static ConfigTable? TableOf(DocumentSyntax document, string file, List<ConfigError> errors)
    {
        int before = errors.Count;
        var root = new ConfigTable(new(file, 1));
        AddAll(root, document.KeyValues, file, errors);
        foreach (TableSyntaxBase table in document.Tables)
        {
            string[] path = PathOf(table.Name!);
            ConfigPlace place = PlaceOf(table, file);
            ConfigTable parent = Descend(root, path.AsSpan(0, path.Length - 1), place, errors);
            ConfigTable added = table is TableArraySyntax
                ? AddItem(parent, path[^1], place, errors)
                : Descend(parent, path.AsSpan(path.Length - 1), place, errors);
            AddAll(added, table.Items, file, errors);
        }
        return errors.Count == before ? root : null;
    }

    private static void AddAll(ConfigTable table, IEnumerable<KeyValueSyntax> entries, string file, List<ConfigError> errors)
    {
        foreach (KeyValueSyntax entry in entries)
        {
            string[] path = PathOf(entry.Key!);
            ConfigPlace place = PlaceOf(entry.Key!, file);
            Descend(table, path.AsSpan(0, path.Length - 1), place, errors).Add(path[^1], NodeOf(entry.Value!, file, errors));
        }
    }

    // The table that a path names, made where it is not there; of an array of tables, its last one (TOML 1.0 "Array of Tables").
    private static ConfigTable Descend(ConfigTable table, ReadOnlySpan<string> path, ConfigPlace place, List<ConfigError> errors)
    {
        foreach (string key in path)
        {
            if (table.Find(key) is not { } node)
                table.Add(key, node = new ConfigTable(place));
            // "a = []" and then "[a.b]": the table becomes an item of the wrong kind, which the binder reports.
            if (node is ConfigArray { Items.Count: 0 } empty)
                empty.Items.Add(new ConfigTable(place));
            table = node as ConfigTable ?? (node as ConfigArray)?.Items[^1] as ConfigTable ?? Contradiction(key, node, place, errors);
        }
        return table;
    }

    private static ConfigTable AddItem(ConfigTable parent, string key, ConfigPlace place, List<ConfigError> errors)
    {
        if (parent.Find(key) is not { } node)
            parent.Add(key, node = new ConfigArray(place));
        if (node is not ConfigArray array)
            return Contradiction(key, node, place, errors);
        var item = new ConfigTable(place);
        array.Items.Add(item);
        return item;
    }

    // A table that belongs to nothing takes what follows.
    private static ConfigTable Contradiction(string key, ConfigNode earlier, ConfigPlace place, List<ConfigError> errors)
    {
        errors.Add(new(place.File, place.Line, key, $"not TOML: it is something else on line {earlier.Place.Line}; remove one of the two"));
        return new ConfigTable(place);
    }

    private static ConfigNode NodeOf(ValueSyntax value, string file, List<ConfigError> errors)
    {
        ConfigPlace place = PlaceOf(value, file);
        switch (value)
        {
            case ArraySyntax array:
                var list = new ConfigArray(place);
                list.Items.AddRange(array.Items.Select(item => NodeOf(item.Value!, file, errors)));
                return list;
            case InlineTableSyntax inline:
                var table = new ConfigTable(place);
                AddAll(table, inline.Items.Select(item => item.KeyValue!), file, errors);
                return table;
            default:
                return new ConfigScalar(place, ScalarOf(value), value.ToString().Trim());
        }
    }

    private static object? ScalarOf(ValueSyntax value) => value switch
    {
        StringValueSyntax text => text.Value,
        IntegerValueSyntax integer => integer.Value,
        BooleanValueSyntax boolean => boolean.Value,
        FloatValueSyntax number => number.Value,
        _ => null,
    };

    private static string[] PathOf(KeySyntax key) => [NameOf(key.Key!), .. key.DotKeys.Select(item => NameOf(item.Key!))];

    private static string NameOf(BareKeyOrStringValueSyntax key) =>
        key is StringValueSyntax quoted ? quoted.Value! : ((BareKeySyntax)key).Key!.Text!;

    private static ConfigPlace PlaceOf(SyntaxNodeBase node, string file) => new(file, node.Span.Start.Line + 1);
}
