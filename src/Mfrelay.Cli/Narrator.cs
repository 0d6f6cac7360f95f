using System.Globalization;

namespace Mfrelay.Cli;

/// <summary>What the demonstration prints: each line with the seconds since its start. Safe for use by several threads.</summary>
internal sealed class Narrator(TextWriter output, TimeProvider time)
{
    private readonly long _start = time.GetTimestamp();
    private readonly Lock _gate = new();

    public TimeSpan Elapsed => time.GetElapsedTime(_start);

    /// <summary>A step of a message: "on disk", and what is to be said about it.</summary>
    public void Step(string step, string text) => Line($"{step,-12} {text}");

    public void Line(string text)
    {
        lock (_gate)
        {
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Elapsed.TotalSeconds,8:0.000} s  {text}"));
            output.Flush();
        }
    }

    /// <summary>Text without a time.</summary>
    public void Text(string text)
    {
        lock (_gate)
        {
            output.WriteLine(text);
            output.Flush();
        }
    }
}
