using System.Text;

namespace Mfrelay.Fuzz;

/// <summary>Runs the code under test on one input and throws when it, or an oracle, fails.</summary>
internal delegate void FuzzAction(ReadOnlySpan<byte> input);

/// <summary>One thing that reads octets which somebody else has made.</summary>
/// <param name="Name">Also the folder of its corpus.</param>
/// <param name="Run">Called with one input after the other, on one thread.</param>
/// <param name="Tokens">Words that mutations put in.</param>
internal sealed record FuzzTarget(string Name, FuzzAction Run, params byte[][] Tokens)
{
    /// <summary>Longest input that mutations make.</summary>
    public int MaxLength { get; init; } = 512;

    /// <summary>Every target. A target makes what it needs at its first input, so that all of them can be listed.</summary>
    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        CommandTarget.Target,
        DotsTarget.Target,
        BdatTarget.Target,
        ProxyTarget.Target,
        AddressTarget.Target,
        HeaderTarget.Target,
        ReplyTarget.Target,
        ConfigTarget.Target,
        RecordTarget.Target,
        SpoolTarget.Target,
        JournalTarget.Target,
        DialogTarget.Target,
    ];

    public static byte[][] Words(params string[] words) => [.. words.Select(Encoding.UTF8.GetBytes)];
}
