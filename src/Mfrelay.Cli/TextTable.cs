using Spectre.Console;

namespace Mfrelay.Cli;

/// <summary>
/// A table for people: columns that align, also with Japanese, one line per row whatever its width, so that nothing is broken that somebody
/// wants to copy. Colours only on a terminal.
/// </summary>
internal sealed class TextTable
{
    private readonly Table _table = new() { Border = TableBorder.None };

    /// <param name="headings">All empty: none are shown.</param>
    public TextTable(params ReadOnlySpan<string> headings)
    {
        _table.ShowHeaders = headings.ContainsAnyExcept("");
        foreach (string heading in headings)
            _table.AddColumn(new TableColumn(new Text(heading)) { NoWrap = true, Padding = new Padding(0, 0, 2, 0) });
    }

    public void Add(params IEnumerable<Cell> cells) =>
        _table.AddRow(cells.Select(cell => new Text(cell.Value, cell.IsBad ? new Style(Color.Red) : Style.Plain)));

    public void Write(TextWriter output)
    {
        foreach (string line in Lines(colours: ReferenceEquals(output, Console.Out) && !Console.IsOutputRedirected && !IsColourUnwanted))
            output.WriteLine(line);
    }

    /// <summary>no-color.org: set to anything.</summary>
    public static bool IsColourUnwanted => Environment.GetEnvironmentVariable("NO_COLOR") is { Length: > 0 };

    public IEnumerable<string> Lines(bool colours)
    {
        using var text = new StringWriter();
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(text),
            Ansi = colours ? AnsiSupport.Yes : AnsiSupport.No,
            ColorSystem = colours ? ColorSystemSupport.Standard : ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
        });
        console.Profile.Width = 10_000;
        console.Write(_table);
        return text.ToString().TrimEnd('\n').Split('\n').Select(line => line.TrimEnd());
    }

    /// <param name="IsBad">Shown in red.</param>
    public readonly record struct Cell(string Value, bool IsBad = false)
    {
        public static implicit operator Cell(string value) => new(value);
    }
}
