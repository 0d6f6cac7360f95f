namespace Mfrelay.Fuzz;

/// <summary>What a target throws when the code under test did not crash and is wrong all the same.</summary>
internal sealed class OracleException(string message) : Exception(message);

internal static class Oracle
{
    /// <param name="what">What should have held.</param>
    public static void Holds(bool condition, string what)
    {
        if (!condition)
            throw new OracleException(what);
    }
}
