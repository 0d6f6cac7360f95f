using System.Globalization;

namespace Mfrelay.Core;

/// <summary>Durations as the config file writes them: a whole number and a unit, "500ms", "30s", "5m", "1h", "5d".</summary>
public static class Duration
{
    // Smallest unit first. TimeSpan ticks are 100 ns.
    private static readonly (string Name, long Ticks)[] Units =
    [
        ("ms", TimeSpan.TicksPerMillisecond),
        ("s", TimeSpan.TicksPerSecond),
        ("m", TimeSpan.TicksPerMinute),
        ("h", TimeSpan.TicksPerHour),
        ("d", TimeSpan.TicksPerDay),
    ];

    public static bool TryParse(ReadOnlySpan<char> text, out TimeSpan value)
    {
        value = default;
        if (text is "0")
            return true;
        int digits = text.IndexOfAnyExceptInRange('0', '9');
        if (digits <= 0 || !long.TryParse(text[..digits], NumberStyles.None, CultureInfo.InvariantCulture, out long number))
            return false;
        foreach ((string name, long ticks) in Units)
        {
            if (text[digits..].SequenceEqual(name) && number <= long.MaxValue / ticks)
            {
                value = TimeSpan.FromTicks(number * ticks);
                return true;
            }
        }
        return false;
    }

    /// <summary>In the largest unit that gives a whole number: 90 minutes is "90m". Below a millisecond is cut off.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A negative duration, which no setting can be.</exception>
    public static string Format(TimeSpan value)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(value, TimeSpan.Zero);
        (string name, long ticks) = value == TimeSpan.Zero ? Units[1] : Units.LastOrDefault(unit => value.Ticks % unit.Ticks == 0, Units[0]);
        return string.Create(CultureInfo.InvariantCulture, $"{value.Ticks / ticks}{name}");
    }
}
