namespace Mfrelay.Core;

/// <summary>What to say about a key that is not a setting.</summary>
internal static class UnknownKey
{
    /// <param name="table">"server." or "": where the key stands.</param>
    /// <param name="settings">What that table knows.</param>
    /// <param name="allNames">What any table knows, <see cref="AllNames()"/>.</param>
    public static string Explain(string table, string key, IReadOnlyList<Setting> settings, IReadOnlyList<string> allNames)
    {
        // A key that another table has just so is in the wrong place, not a slip.
        if (allNames.FirstOrDefault(name => $".{name}".EndsWith($".{key}", StringComparison.Ordinal)) is { } elsewhere)
            return $"unknown key; did you mean {elsewhere}?";
        if (Nearest(key, settings.Select(setting => setting.Key)) is { } near)
            return $"unknown key; did you mean {table}{near}?";
        return $"unknown key; the keys here are {string.Join(", ", settings.Select(setting => setting.Key))}";
    }

    /// <summary>"host_name", "server", "server.listen", ...</summary>
    public static IReadOnlyList<string> AllNames() => [.. AllNames(typeof(Settings), "")];

    /// <summary>The candidate with the fewest slips, or null when it takes more than a third of the letters (but two are always forgiven).</summary>
    public static string? Nearest(string key, IEnumerable<string> candidates) =>
        candidates
            .Select(candidate => (candidate, distance: Distance(key, candidate)))
            .Where(item => item.distance <= Math.Max(2, key.Length / 3))
            .OrderBy(item => item.distance)
            .Select(item => item.candidate)
            .FirstOrDefault();

    /// <summary>Letters to insert, delete, replace or swap with their neighbour (optimal string alignment), up to case.</summary>
    public static int Distance(string left, string right)
    {
        var cost = new int[left.Length + 1, right.Length + 1];
        for (int i = 0; i <= left.Length; i++)
            cost[i, 0] = i;
        for (int j = 0; j <= right.Length; j++)
            cost[0, j] = j;
        for (int i = 1; i <= left.Length; i++)
        {
            for (int j = 1; j <= right.Length; j++)
            {
                int replaced = cost[i - 1, j - 1] + (Same(i, j) ? 0 : 1);
                cost[i, j] = Math.Min(replaced, 1 + Math.Min(cost[i - 1, j], cost[i, j - 1]));
                if (i > 1 && j > 1 && Same(i, j - 1) && Same(i - 1, j))
                    cost[i, j] = Math.Min(cost[i, j], cost[i - 2, j - 2] + 1);
            }
        }
        return cost[left.Length, right.Length];

        bool Same(int i, int j) => char.ToLowerInvariant(left[i - 1]) == char.ToLowerInvariant(right[j - 1]);
    }

    private static IEnumerable<string> AllNames(Type record, string table) =>
        Setting.Of(record).SelectMany(setting => setting.IsTable
            ? AllNames(setting.Type, $"{table}{setting.Key}.").Prepend(table + setting.Key)
            : [table + setting.Key]);
}
