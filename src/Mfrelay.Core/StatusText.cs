using System.Globalization;

namespace Mfrelay.Core;

/// <summary>What the lines of status of both daemons have in common.</summary>
internal static class StatusText
{
    private const int NamesShown = 5;

    /// <summary>" (the first few, ...)"; empty when there are none.</summary>
    public static string Names(IReadOnlyList<string> names) =>
        names.Count == 0 ? "" : $" ({string.Join(", ", names.Take(NamesShown))}{(names.Count > NamesShown ? ", ..." : "")})";

    /// <summary>"; log lines lost: 3"; empty when none were.</summary>
    public static string Lost(long lines) => lines == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"; log lines lost: {lines}");
}
