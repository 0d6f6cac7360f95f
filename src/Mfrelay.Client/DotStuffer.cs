namespace Mfrelay.Client;

/// <summary>
/// Makes mail data fit for DATA: a line that begins with a dot gets another one (RFC 5321 4.5.2), and the whole ends in CRLF "." CRLF.
/// A line begins after every LF, also a bare one: a server that takes a bare LF for a line end must not see a lone dot inside a message
/// (that is SMTP smuggling) and takes the extra dot away again; BDAT is exact for every input.
/// </summary>
internal struct DotStuffer()
{
    private byte _last = (byte)'\n';
    private byte _lastButOne = (byte)'\r';

    /// <summary>The dot that had to be doubled is the next octet of the source: its double is written already.</summary>
    private bool _stuffed;

    /// <summary>Octets to send after the last block: the final dot, and the line end before it if the data lacks one.</summary>
    public readonly ReadOnlySpan<byte> End => _last == '\n' && _lastButOne == '\r' ? ".\r\n"u8 : "\r\n.\r\n"u8;

    /// <summary>The longest <see cref="End"/>.</summary>
    public const int MaxEnd = 5;

    /// <summary>Copies as much as there is and fits.</summary>
    public void Encode(ReadOnlySpan<byte> source, Span<byte> destination, out int consumed, out int written)
    {
        consumed = written = 0;
        while (consumed < source.Length && written < destination.Length)
        {
            if (_last == '\n' && source[consumed] == '.' && !_stuffed)
            {
                destination[written++] = (byte)'.';
                _stuffed = true;
                continue;
            }
            ReadOnlySpan<byte> run = source.Slice(consumed, Math.Min(source.Length - consumed, destination.Length - written));
            int dot = run.IndexOf("\n."u8);
            if (dot >= 0)
                run = run[..(dot + 1)];
            run.CopyTo(destination[written..]);
            consumed += run.Length;
            written += run.Length;
            _stuffed = false;
            _lastButOne = run.Length > 1 ? run[^2] : _last;
            _last = run[^1];
        }
    }
}
