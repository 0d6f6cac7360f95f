using Mfrelay.Client;
using Mfrelay.Core;

namespace Mfrelay.Fuzz;

/// <summary>Header sections (the first octet chooses where they are cut). Oracles: cut anywhere it is the same; never more hops than lines, nor than both ends count.</summary>
internal static class HeaderTarget
{
    public static FuzzTarget Target { get; } = new("header", Run, FuzzTarget.Words(
        "Received:", "received :", "RECEIVED\t:", "\r\n", "\r\n\r\n", "\r\n ", "Subject: x\r\n", "X:", ":", "Message-ID:", "message-id :<", "Received: from a by b;\r\n\tdate\r\n"));

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        byte cuts = input[0];
        input = input[1..];
        var whole = new HeaderScan();
        whole.Scan(input);
        var pieces = new HeaderScan();
        var chance = new Chance(cuts);
        for (int at = 0; at < input.Length;)
        {
            int piece = Math.Min(cuts == 0 ? 1 : 1 + chance.Below(cuts), input.Length - at);
            pieces.Scan(input.Slice(at, piece));
            at += piece;
        }
        Oracle.Holds(pieces.Length == whole.Length && pieces.Hops == whole.Hops && pieces.MessageId == whole.MessageId, "cut anywhere it is the same");
        Oracle.Holds(whole.Length <= input.Length, "a header is no longer than the message");
        ReadOnlySpan<byte> header = input[..(int)whole.Length];
        Oracle.Holds(whole.Hops <= header.Count((byte)'\n') + 1, "a hop is a line");
        // Without blanks before the colon, which the client does not look for, it counts at least as many: it also goes on where no field begins.
        Oracle.Holds(TraceFields.Received(input) >= whole.Hops || input.IndexOfAny(" :"u8, "\t:"u8) || input.StartsWith("\r\n"u8) || Breaks(input),
            "server and client count the same hops");
    }

    private static bool IndexOfAny(this ReadOnlySpan<byte> text, ReadOnlySpan<byte> a, ReadOnlySpan<byte> b) => text.IndexOf(a) >= 0 || text.IndexOf(b) >= 0;

    // A line of one LF ends the header for the client.
    private static bool Breaks(ReadOnlySpan<byte> text) => text.StartsWith("\n"u8) || text.IndexOf("\n\n"u8) >= 0;
}
