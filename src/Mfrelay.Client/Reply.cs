using System.Text;

namespace Mfrelay.Client;

/// <summary>An enhanced status code (RFC 3463): 5.1.1 = permanent failure, addressing, no such mailbox.</summary>
internal readonly record struct EnhancedStatus(int Class, int Subject, int Detail)
{
    public override string ToString() => $"{Class}.{Subject}.{Detail}";

    /// <summary>
    /// Reads "5.1.1" at the start of a reply's text. It counts only when its class is that of the reply code (RFC 2034 4).
    /// </summary>
    /// <param name="length">Bytes to skip to reach the text behind it; 0 when there is none.</param>
    public static EnhancedStatus? Parse(ReadOnlySpan<byte> text, int replyClass, out int length)
    {
        length = 0;
        if (text.Length < 5 || text[0] - '0' != replyClass || text[0] is not ((byte)'2' or (byte)'4' or (byte)'5') || text[1] != '.')
            return null;
        int at = 2;
        int subject = Number(text, ref at);
        if (subject < 0 || at == text.Length || text[at++] != '.')
            return null;
        int detail = Number(text, ref at);
        if (detail < 0 || (at < text.Length && text[at] != ' '))
            return null;
        length = Math.Min(at + 1, text.Length);
        return new EnhancedStatus(replyClass, subject, detail);
    }

    /// <summary>1*3DIGIT (RFC 3463 2); -1 when there is no digit or a fourth one.</summary>
    private static int Number(ReadOnlySpan<byte> text, ref int at)
    {
        int start = at, value = 0;
        for (; at < text.Length && char.IsAsciiDigit((char)text[at]); at++)
        {
            if (at - start == 3)
                return -1;
            value = (value * 10) + (text[at] - '0');
        }
        return at == start ? -1 : value;
    }
}

/// <summary>What a mail server answered to one command (RFC 5321 4.2).</summary>
/// <param name="Code">200 to 599.</param>
/// <param name="Status">The enhanced status, when the reply carried a valid one.</param>
/// <param name="Text">What follows, for people: one line, lines of a multi-line reply joined by a space, at most <see cref="MaxText"/> characters.</param>
internal sealed record Reply(int Code, EnhancedStatus? Status, string Text)
{
    /// <summary>Text goes to the log, the queue table and the bounce; a peer must not decide how large these get.</summary>
    public const int MaxText = 1024;

    /// <summary>2, 3, 4 or 5.</summary>
    public int Class => Code / 100;

    public override string ToString() => Status is { } status ? $"{Code} {status} {Text}" : $"{Code} {Text}";

    /// <summary>Decodes a whole reply that <see cref="ReplyReader"/> has taken: bytes of all its lines.</summary>
    public static Reply Decode(ReadOnlySpan<byte> raw)
    {
        int code = ReplyReader.CodeOf(raw);
        EnhancedStatus? status = null;
        var text = new StringBuilder();
        foreach (Range range in raw.Split((byte)'\n'))
        {
            ReadOnlySpan<byte> line = raw[range].TrimEnd("\r "u8);
            if (line.Length <= 4 || text.Length >= MaxText)
                continue;
            line = line[4..];
            EnhancedStatus? own = EnhancedStatus.Parse(line, code / 100, out int skip);
            status ??= own;
            if (text.Length > 0)
                text.Append(' ');
            AppendPrintable(text, line[(own == status ? skip : 0)..]);
        }
        return new Reply(code, status, text.Length <= MaxText ? text.ToString() : text.ToString(0, MaxText));
    }

    /// <summary>UTF-8 (RFC 6531 3.7.4.1), with what is none or controls a terminal replaced: a peer must not forge log lines.</summary>
    private static void AppendPrintable(StringBuilder text, ReadOnlySpan<byte> line)
    {
        foreach (char c in Encoding.UTF8.GetString(line[..Math.Min(line.Length, 4 * MaxText)]))
            text.Append(char.IsControl(c) ? '?' : c);
    }
}
