using System.Text;
using Mfrelay.Core;
using MimeKit;
using MimeKit.Utils;

namespace Mfrelay.Client;

/// <summary>What a report needs of the message that it is about: the fields that name it, and the octets that go back.</summary>
internal sealed class DsnOriginal
{
    /// <summary>Octets of a header that are read and returned.</summary>
    private const int MaxHeader = 64 * 1024;

    private readonly HeaderList _fields;

    private DsnOriginal(HeaderList fields, byte[] returned, bool isWhole) => (_fields, Returned, IsWhole) = (fields, returned, isWhole);

    /// <summary>Octets to send back: the message, or its header.</summary>
    public byte[] Returned { get; }

    /// <summary>Returned is the message, not its header alone.</summary>
    public bool IsWhole { get; }

    /// <summary>"&lt;id@host&gt;"; null when the message has none that can be quoted.</summary>
    public string? MessageId =>
        Field("Message-ID") is { } value && MimeUtils.EnumerateReferences(value).FirstOrDefault() is { Length: > 0 and < 900 } id
        && Ascii.IsValid(id) && !id.Any(c => char.IsControl(c) || c == ' ')
            ? $"<{id}>"
            : null;

    /// <summary>
    /// The whole goes back when the sender did not ask for the header alone (RFC 3461 4.3), it is not larger than the limit and can stand in
    /// a mail as it is: message/rfc822 must not be encoded (RFC 2046 5.2.1), so there is no way to return a bare LF or an endless line.
    /// </summary>
    public static DsnOriginal Of(SpooledMessage message, long limit)
    {
        byte[] start = Read(message, (int)Math.Min(message.Size, Math.Max(MaxHeader, limit)));
        byte[] header = start[..HeaderLength(start)];
        using var stream = new MemoryStream(header);
        HeaderList fields = Load(stream);
        bool whole = message.Envelope.Return != DsnReturn.Headers && message.Size <= limit && start.Length == message.Size && IsSendable(start);
        return new DsnOriginal(fields, whole ? start : header, whole);
    }

    /// <summary>A field as it stands in the header, unfolded; null when there is none.</summary>
    public string? Field(string name)
    {
        if (_fields.FirstOrDefault(field => field.Field.Equals(name, StringComparison.OrdinalIgnoreCase)) is not { } field)
            return null;
        string text = Encoding.UTF8.GetString(field.RawValue);
        return string.Concat(text.Where(c => c is not ('\r' or '\n')).Select(c => char.IsControl(c) ? ' ' : c)).Trim();
    }

    /// <summary>CRLF line ends alone, at the end too, no NUL, lines of at most 998 octets (RFC 5322 2.1.1).</summary>
    public static bool IsSendable(ReadOnlySpan<byte> octets)
    {
        if (octets.Contains((byte)0) || (!octets.IsEmpty && !octets.EndsWith("\r\n"u8)))
            return false;
        while (!octets.IsEmpty)
        {
            int end = octets.IndexOfAny((byte)'\r', (byte)'\n');
            if (end > 998 || octets[end] != '\r' || end + 1 == octets.Length || octets[end + 1] != '\n')
                return false;
            octets = octets[(end + 2)..];
        }
        return true;
    }

    private static HeaderList Load(Stream stream)
    {
        try
        {
            return HeaderList.Load(stream);
        }
        catch (FormatException)
        {
            return []; // no header at all, or nothing like one
        }
    }

    private static byte[] Read(SpooledMessage message, int length)
    {
        byte[] octets = new byte[length];
        byte[] scratch = new byte[Math.Min(length, 64 * 1024)];
        for (int at = 0; at < length;)
        {
            ReadOnlyMemory<byte> some = message.Read(at, scratch);
            int count = Math.Min(some.Length, length - at);
            if (count == 0)
                return octets[..at];
            some.Span[..count].CopyTo(octets.AsSpan(at));
            at += count;
        }
        return octets;
    }

    /// <summary>Up to the empty line, without it; cut after the last whole line where there is too much of it.</summary>
    private static int HeaderLength(ReadOnlySpan<byte> octets)
    {
        if (octets.StartsWith("\r\n"u8))
            return 0;
        int end = octets.IndexOf("\r\n\r\n"u8);
        if (end >= 0 && end + 2 <= MaxHeader)
            return end + 2;
        return octets[..Math.Min(octets.Length, MaxHeader)].LastIndexOf((byte)'\n') + 1;
    }
}
