using System.Buffers;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// Mail data of DATA as it comes from the wire: takes the stuffed dots out and finds the end, which is CRLF.CRLF and nothing else (RFC 5321
/// 4.1.1.4, 4.5.2). Works on any segmentation of the input; one per message.
/// </summary>
internal sealed class DotDecoder
{
    private static readonly SearchValues<byte> Special = SearchValues.Create("\r\n\0"u8);
    private State _state = State.LineStart;

    private enum State
    {
        LineStart,
        Text,
        Cr,
        /// <summary>A dot at the start of a line, not handed on yet.</summary>
        Dot,
        /// <summary>That dot and a CR.</summary>
        DotCr,
    }

    public bool IsComplete { get; private set; }

    /// <summary>A CR without LF, an LF without CR, or a NUL has been seen.</summary>
    public bool HasBareNewline { get; private set; }

    /// <summary>Hands decoded octets to <paramref name="sink"/>; returns how many of the input it took: all, or up to the end of data.</summary>
    public int Decode(ReadOnlySpan<byte> input, DataSink sink)
    {
        int from = 0; // what has been seen but not handed on begins here
        int i = 0;
        while (i < input.Length && !IsComplete)
        {
            byte b = input[i];
            switch (_state)
            {
                case State.LineStart when b == '.':
                    sink.Append(input[from..i]);
                    from = ++i;
                    _state = State.Dot;
                    break;
                case State.Dot when b == '\r':
                    from = ++i;
                    _state = State.DotCr;
                    break;
                case State.DotCr when b == '\n':
                    from = ++i;
                    IsComplete = true;
                    break;
                case State.DotCr:
                    sink.Append("\r"u8);
                    HasBareNewline = true;
                    _state = b == '\r' ? State.Cr : State.Text;
                    i = b == '\r' ? i + 1 : i;
                    break;
                case State.Cr when b == '\n':
                    _state = State.LineStart;
                    i++;
                    break;
                case State.Cr:
                    HasBareNewline = true;
                    _state = State.Text;
                    break;
                default:
                    i = SkipText(input, i);
                    break;
            }
        }
        sink.Append(input[from..i]);
        return i;
    }

    private int SkipText(ReadOnlySpan<byte> input, int i)
    {
        _state = State.Text;
        int found = input[i..].IndexOfAny(Special);
        if (found < 0)
            return input.Length;
        if (input[i + found] == '\r')
            _state = State.Cr;
        else
            HasBareNewline = true;
        return i + found + 1;
    }
}

/// <summary>The same questions for the octets of BDAT, which are taken as they are (RFC 3030).</summary>
internal struct NewlineCheck
{
    private static readonly SearchValues<byte> Special = SearchValues.Create("\r\n\0"u8);
    private bool _afterCr;
    private bool _insideLine;

    public bool HasBareNewline { get; private set; }

    /// <summary>The last octets were CRLF, or there were none at all: an empty message is no worse than that of DATA.</summary>
    public readonly bool EndsInNewline => !_insideLine;

    public void Scan(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            _insideLine = true;
            if (_afterCr)
            {
                _afterCr = false;
                if (bytes[0] == '\n')
                {
                    _insideLine = false;
                    bytes = bytes[1..];
                    continue;
                }
                HasBareNewline = true;
            }
            int found = bytes.IndexOfAny(Special);
            if (found < 0)
                return;
            if (bytes[found] == '\r')
                _afterCr = true;
            else
                HasBareNewline = true;
            bytes = bytes[(found + 1)..];
        }
    }

    /// <summary>After the last octet: a CR that nothing followed is a bare one.</summary>
    public void End() => HasBareNewline |= _afterCr;
}

/// <summary>
/// Where mail data goes: the message, until a limit is reached or the disk refuses; from then on nowhere, while the dialog stays in step.
/// </summary>
/// <param name="limit">Octets of the message, its trace included.</param>
/// <param name="limits">Those of header and lines; none of them when null.</param>
/// <param name="tooLarge">What is said beyond the limit.</param>
internal sealed class DataSink(IncomingMessage message, long limit, ServerSettings? limits = null, Reply? tooLarge = null)
{
    private HeaderScan _header;
    private long _line;

    /// <summary>Of the header so far.</summary>
    public string MessageId => _header.MessageId;

    public bool TooLarge => Refusal == Replies.TooLarge;

    /// <summary>What speaks against the message so far: a limit, or the file system.</summary>
    public Reply? Refusal { get; private set; }

    /// <summary>The relay's own field: nothing of it counts as the sender's.</summary>
    public void AppendTrace(ReadOnlySpan<byte> field) => Store(field);

    public void Append(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty || Refusal is not null)
            return;
        if (message.Length + bytes.Length > limit)
            Refuse(tooLarge ?? Replies.TooLarge);
        else if (limits is not null && Over(bytes, limits) is { } refusal)
            Refuse(refusal);
        else
            Store(bytes);
    }

    private Reply? Over(ReadOnlySpan<byte> bytes, ServerSettings limits)
    {
        _header.Scan(bytes);
        if (_header.Length > limits.MaxHeaderSize)
            return Replies.HeaderTooLarge;
        if (_header.Hops > limits.MaxHops)
            return Replies.TooManyHops;
        return HasLineOver(bytes, limits.MaxTextLine) ? Replies.TextLineTooLong : null;
    }

    // Only where a line can be too long at all are the lines looked for.
    private bool HasLineOver(ReadOnlySpan<byte> bytes, long longest)
    {
        while (_line + bytes.Length > longest)
        {
            int end = bytes.IndexOf((byte)'\n');
            if (_line + (end < 0 ? bytes.Length : end) > longest)
                return true;
            _line = 0;
            bytes = bytes[(end + 1)..];
        }
        int last = bytes.LastIndexOf((byte)'\n');
        _line = last < 0 ? _line + bytes.Length : bytes.Length - last - 1;
        return false;
    }

    private void Refuse(Reply refusal)
    {
        Refusal = refusal;
        message.Abandon();
    }

    private void Store(ReadOnlySpan<byte> bytes)
    {
        try
        {
            message.Append(bytes);
        }
        catch (IOException e)
        {
            Refuse(SmtpConnection.ReplyTo(SpoolWriter.ResultOf(e)));
        }
    }
}
