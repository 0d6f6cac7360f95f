using System.Buffers;

namespace Mfrelay.Client;

internal enum ReplyParse
{
    /// <summary>Not all of it is here yet; nothing is consumed.</summary>
    NeedMore,
    Complete,
    /// <summary>It cannot become a reply any more.</summary>
    Garbage,
    /// <summary>More than <see cref="ReplyReader.MaxReply"/> octets without an end.</summary>
    TooLong,
}

/// <summary>
/// The bytes a mail server sent, cut into replies. Pure: whoever owns the connection fills <see cref="Free"/>.
/// <code>
/// reply      = *( code "-" [ text ] CRLF ) code [ SP [ text ] ] CRLF     ; RFC 5321 4.2
/// code       = %x32-35 %x30-39 %x30-39
/// </code>
/// A bare LF is taken as a line end: real servers send it, and nothing depends on the difference.
/// </summary>
internal sealed class ReplyReader : IDisposable
{
    /// <summary>
    /// Octets of one reply. RFC 5321 4.5.3.1.5 allows 512 for a line and does not limit lines; a peer must not fill our memory.
    /// </summary>
    public const int MaxReply = 64 * 1024;

    private const int FirstBuffer = 4 * 1024;

    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(FirstBuffer);
    private int _start;
    private int _end;

    /// <summary>Where the first line not yet looked at begins: a reply that comes byte by byte is not read again from its start.</summary>
    private int _line;

    /// <summary>Bytes not yet taken.</summary>
    public int Buffered => _end - _start;

    /// <summary>Room to receive into; grows up to the limit of a reply.</summary>
    public Memory<byte> Free
    {
        get
        {
            if (_end == _buffer.Length)
                MakeRoom();
            return _buffer.AsMemory(_end);
        }
    }

    public void Received(int count) => _end += count;

    /// <summary>Takes the next reply.</summary>
    /// <param name="raw">All its lines; valid until the next use of <see cref="Free"/>.</param>
    public ReplyParse TryTake(out ReadOnlySpan<byte> raw)
    {
        raw = default;
        while (true)
        {
            ReadOnlySpan<byte> rest = _buffer.AsSpan(_line, _end - _line);
            if (!CanBeReplyLine(rest))
                return ReplyParse.Garbage;
            int lf = rest.IndexOf((byte)'\n');
            if ((lf < 0 ? _end : _line + lf + 1) - _start > MaxReply)
                return ReplyParse.TooLong;
            if (lf < 0)
                return ReplyParse.NeedMore;
            _line += lf + 1;
            if (rest[3] == '-')
                continue;
            raw = _buffer.AsSpan(_start, _line - _start);
            _start = _line;
            if (_start == _end)
                _start = _end = _line = 0;
            return ReplyParse.Complete;
        }
    }

    /// <summary>The code of a taken reply: that of its last line, which is also what says that it ends.</summary>
    public static int CodeOf(ReadOnlySpan<byte> raw)
    {
        ReadOnlySpan<byte> last = raw[(raw[..^1].LastIndexOf((byte)'\n') + 1)..];
        return ((last[0] - '0') * 100) + ((last[1] - '0') * 10) + (last[2] - '0');
    }

    public void Dispose()
    {
        byte[] buffer = _buffer;
        _buffer = [];
        _start = _end = _line = 0;
        if (buffer.Length > 0)
            ArrayPool<byte>.Shared.Return(buffer);
    }

    /// <summary>Whether what is here of a line is the beginning of a reply line, so that garbage is known at its first byte.</summary>
    private static bool CanBeReplyLine(ReadOnlySpan<byte> line)
    {
        for (int i = 0; i < Math.Min(line.Length, 4); i++)
        {
            bool fits = i switch
            {
                0 => line[0] is >= (byte)'2' and <= (byte)'5',
                3 => line[3] is (byte)' ' or (byte)'-' or (byte)'\r' or (byte)'\n',
                _ => char.IsAsciiDigit((char)line[i]),
            };
            if (!fits)
                return false;
        }
        return true;
    }

    private void MakeRoom()
    {
        ObjectDisposedException.ThrowIf(_buffer.Length == 0, this);
        int kept = Buffered;
        byte[] old = _buffer;
        // One octet more than a reply may have, so that a too long one is noticed and not waited for.
        byte[] target = kept <= old.Length / 2 ? old : ArrayPool<byte>.Shared.Rent(Math.Min(old.Length * 2, MaxReply + FirstBuffer));
        old.AsSpan(_start, kept).CopyTo(target);
        _line -= _start;
        _start = 0;
        _end = kept;
        _buffer = target;
        if (target != old)
            ArrayPool<byte>.Shared.Return(old);
    }
}
