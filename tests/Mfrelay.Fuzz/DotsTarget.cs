using Mfrelay.Client;
using Mfrelay.Core;
using Mfrelay.Server;

namespace Mfrelay.Fuzz;

/// <summary>
/// Mail data of DATA (the first octet chooses where it is cut). Oracles: a slow decoder; cut anywhere it is the same; what the client's encoder
/// makes of any mail data is decoded to the same, has one end, and none for a server that takes a bare LF for a line end.
/// </summary>
internal static class DotsTarget
{
    private static readonly IncomingMessage Message = Memory.NewMessage();
    private static readonly IncomingMessage Other = Memory.NewMessage();
    private static readonly byte[] Encoded = new byte[4096];
    private static readonly byte[] Reference = new byte[4096];

    public static FuzzTarget Target { get; } = new("dots", Run, FuzzTarget.Words(
        "\r\n.\r\n", "\r\n..\r\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\0", "\r\n", ".", "..", "MAIL FROM:<"));

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        byte cuts = input[0];
        input = input[1..];
        Message.Begin(default);
        var decoder = new DotDecoder();
        int taken = decoder.Decode(input, new DataSink(Message, long.MaxValue));
        bool ends = Slow(input, out int expected, out int length, out bool bare);
        Oracle.Holds(decoder.IsComplete == ends && taken == expected, "mail data ends at CRLF.CRLF and nothing else");
        Oracle.Holds(Message.Data.SequenceEqual(Reference.AsSpan(0, length)), "decoded as the slow decoder does");
        Oracle.Holds(decoder.HasBareNewline == bare, "bare newlines are seen");
        CheckCuts(input, cuts, decoder, taken);
        CheckEncoder(input, cuts);
    }

    private static void CheckCuts(ReadOnlySpan<byte> input, byte cuts, DotDecoder whole, int wholeTaken)
    {
        Other.Begin(default);
        var sink = new DataSink(Other, long.MaxValue);
        var decoder = new DotDecoder();
        var chance = new Chance(cuts);
        int taken = 0;
        while (taken < input.Length && !decoder.IsComplete)
        {
            int piece = Math.Min(cuts == 0 ? 1 : 1 + chance.Below(cuts), input.Length - taken);
            int n = decoder.Decode(input.Slice(taken, piece), sink);
            Oracle.Holds(n == piece || decoder.IsComplete, "everything up to the end is taken");
            taken += n;
        }
        Oracle.Holds(decoder.IsComplete == whole.IsComplete && taken == wholeTaken && decoder.HasBareNewline == whole.HasBareNewline, "cut anywhere, the end is the same");
        Oracle.Holds(Other.Data.SequenceEqual(Message.Data), "cut anywhere, the data is the same");
    }

    /// <summary>One octet after the other, into Reference.</summary>
    private static bool Slow(ReadOnlySpan<byte> input, out int taken, out int length, out bool bare)
    {
        (taken, length, bare) = (0, 0, false);
        for (int lineStart = 0; ;)
        {
            int end = input[lineStart..].IndexOf("\r\n"u8);
            ReadOnlySpan<byte> line = end < 0 ? input[lineStart..] : input.Slice(lineStart, end);
            if (end >= 0 && line.SequenceEqual("."u8))
            {
                taken = lineStart + 3;
                return true;
            }
            bool dot = line is [(byte)'.', ..];
            ReadOnlySpan<byte> text = dot ? line[1..] : line;
            if (end < 0)
            {
                // The end of the input: a dot may be the end of data, a CR half of CRLF. What is undecided is not handed on.
                taken = input.Length;
                ReadOnlySpan<byte> decided = dot && text.SequenceEqual("\r"u8) ? default : text;
                decided.CopyTo(Reference.AsSpan(length));
                length += decided.Length;
                bare |= HasBare(text is [.., (byte)'\r'] ? text[..^1] : text);
                return false;
            }
            text.CopyTo(Reference.AsSpan(length));
            "\r\n"u8.CopyTo(Reference.AsSpan(length + text.Length));
            length += text.Length + 2;
            bare |= HasBare(text);
            lineStart += end + 2;
        }
    }

    private static bool HasBare(ReadOnlySpan<byte> text) => text.ContainsAny((byte)'\r', (byte)'\n', (byte)0);

    private static void CheckEncoder(ReadOnlySpan<byte> data, byte cuts)
    {
        var stuffer = new DotStuffer();
        var chance = new Chance(cuts + 1000UL);
        int written = 0;
        for (int at = 0; at < data.Length;)
        {
            ReadOnlySpan<byte> source = data.Slice(at, Math.Min(1 + chance.Below(cuts + 1), data.Length - at));
            stuffer.Encode(source, Encoded.AsSpan(written, 1 + chance.Below(cuts + 1)), out int consumed, out int n);
            at += consumed;
            written += n;
        }
        stuffer.End.CopyTo(Encoded.AsSpan(written));
        written += stuffer.End.Length;
        ReadOnlySpan<byte> encoded = Encoded.AsSpan(0, written);

        Other.Begin(default);
        var decoder = new DotDecoder();
        int taken = decoder.Decode(encoded, new DataSink(Other, long.MaxValue));
        Oracle.Holds(decoder.IsComplete && taken == written, "encoded mail data has one end, the last octets");
        bool ended = data.IsEmpty || data.EndsWith("\r\n"u8);
        ReadOnlySpan<byte> decoded = Other.Data;
        if (!data.Contains((byte)'\n') || !decoder.HasBareNewline)
            Oracle.Holds(decoded.StartsWith(data) && decoded.Length == data.Length + (ended ? 0 : 2), "encoded and decoded it is the same");
        CheckLenient(encoded);
    }

    // A server for which LF alone ends a line, with or without CR before it.
    private static void CheckLenient(ReadOnlySpan<byte> encoded)
    {
        int lineStart = 0;
        while (lineStart < encoded.Length)
        {
            int end = lineStart + encoded[lineStart..].IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = encoded[lineStart..end];
            bool isDot = line.SequenceEqual("."u8) || line.SequenceEqual(".\r"u8);
            lineStart = end + 1;
            Oracle.Holds(isDot == (lineStart == encoded.Length), "no lone dot inside a message, also not between bare LFs");
        }
    }
}
