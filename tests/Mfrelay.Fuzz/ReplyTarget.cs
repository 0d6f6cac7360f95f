using Mfrelay.Client;

namespace Mfrelay.Fuzz;

/// <summary>What a mail server may answer (the first octet chooses where it is cut). Oracles: cut anywhere the replies are the same; their text is fit for the log.</summary>
internal static class ReplyTarget
{
    public static FuzzTarget Target { get; } = new("reply", Run, FuzzTarget.Words(
        "250 ", "250-", "\r\n", "\n", "5.1.1 ", "421 4.4.2 ", "550 5.7.1 no\r\n", "\0", "ü", "\x1b[2J", "\u0085", "2.1.1234 ", "354\r\n"));

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        byte cuts = input[0];
        input = input[1..];
        using var whole = new ReplyReader();
        using var pieces = new ReplyReader();
        Put(whole, input);
        var chance = new Chance(cuts);
        int at = 0;
        while (true)
        {
            ReplyParse expected = whole.TryTake(out ReadOnlySpan<byte> raw);
            ReplyParse got = pieces.TryTake(out ReadOnlySpan<byte> same);
            while (got == ReplyParse.NeedMore && at < input.Length)
            {
                int piece = Math.Min(cuts == 0 ? 1 : 1 + chance.Below(cuts), input.Length - at);
                Put(pieces, input.Slice(at, piece));
                at += piece;
                got = pieces.TryTake(out same);
            }
            Oracle.Holds(got == expected && same.SequenceEqual(raw), "cut anywhere the replies are the same");
            if (expected != ReplyParse.Complete)
                return;
            Check(Reply.Decode(raw));
        }
    }

    private static void Put(ReplyReader reader, ReadOnlySpan<byte> octets)
    {
        while (!octets.IsEmpty)
        {
            Memory<byte> room = reader.Free;
            int n = Math.Min(room.Length, octets.Length);
            octets[..n].CopyTo(room.Span);
            reader.Received(n);
            octets = octets[n..];
        }
    }

    private static void Check(Reply reply)
    {
        Oracle.Holds(reply.Code is >= 200 and <= 599, "a code has three digits, of the classes 2 to 5");
        Oracle.Holds(reply.Status is null || reply.Status.Value.Class == reply.Class, "status and code have one class");
        Oracle.Holds(reply.Text.Length <= Reply.MaxText, "the text is not endless");
        foreach (char c in reply.Text)
            Oracle.Holds(!char.IsControl(c), "no control character gets into the log");
    }
}
