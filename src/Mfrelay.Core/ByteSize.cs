using System.Globalization;

namespace Mfrelay.Core;

/// <summary>Sizes as the config file writes them: a whole number and a unit, "50MB" (powers of 1000), "256KiB" (powers of 1024), or plain bytes.</summary>
public static class ByteSize
{
    private static readonly (string Name, long Bytes)[] Units =
    [
        ("B", 1),
        ("KB", 1000),
        ("KiB", 1L << 10),
        ("MB", 1000_000),
        ("MiB", 1L << 20),
        ("GB", 1000_000_000),
        ("GiB", 1L << 30),
    ];

    /// <summary>Upper and lower case are the same here: nobody means millibits.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out long value)
    {
        value = 0;
        int digits = text.IndexOfAnyExceptInRange('0', '9');
        ReadOnlySpan<char> unit = digits < 0 ? "B" : text[digits..];
        if (!long.TryParse(digits < 0 ? text : text[..digits], NumberStyles.None, CultureInfo.InvariantCulture, out long number))
            return false;
        foreach ((string name, long bytes) in Units)
        {
            if (unit.Equals(name, StringComparison.OrdinalIgnoreCase) && number <= long.MaxValue / bytes)
            {
                value = number * bytes;
                return true;
            }
        }
        return false;
    }

    /// <summary>The unit that gives the smallest whole number: 50,000,000 is "50MB", 65,536 is "64KiB".</summary>
    public static string Format(long value)
    {
        (string name, long bytes) = value == 0 ? Units[0] : Units.Last(unit => value % unit.Bytes == 0);
        return string.Create(CultureInfo.InvariantCulture, $"{value / bytes}{name}");
    }
}
