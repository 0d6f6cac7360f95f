namespace Mfrelay.Server;

/// <summary>
/// The header section of mail data as it goes by (RFC 5322 2.2): how long it is, and how often the message has been handed on (RFC 5321
/// 6.3 counts Received fields). It ends at an empty line, or at the first line that is no field. Any segmentation.
/// </summary>
internal struct HeaderScan
{
    /// <summary>RFC 5322 2.1.1: no line is longer, and so no name.</summary>
    private const int MaxName = 998;

    private State _state;

    /// <summary>How much of "received" the present name is so far; -1: it is another one.</summary>
    private int _matched;
    private int _nameLength;

    private enum State
    {
        LineStart,
        Name,
        BlankBeforeColon,
        Value,
        Cr,
        Body,
    }

    public long Length { get; private set; }
    public int Hops { get; private set; }

    private static ReadOnlySpan<byte> Received => "received"u8;

    public void Scan(ReadOnlySpan<byte> bytes)
    {
        int i = 0;
        while (i < bytes.Length && _state != State.Body)
        {
            if (_state == State.Value)
            {
                int end = bytes[i..].IndexOf((byte)'\n');
                i = end < 0 ? bytes.Length : i + end + 1;
                _state = end < 0 ? State.Value : State.LineStart;
            }
            else
            {
                Step(bytes[i++], isFirst: Length == 0 && i == 1);
            }
        }
        Length += i;
    }

    private void Step(byte b, bool isFirst)
    {
        switch (_state)
        {
            case State.LineStart when b == '\r':
                _state = State.Cr;
                break;
            case State.LineStart when b is (byte)' ' or (byte)'\t' && !isFirst:
                _state = State.Value;
                break;
            case State.Name or State.BlankBeforeColon when b == ':':
                if (_matched == Received.Length)
                    Hops++;
                _state = State.Value;
                break;
            case State.Name or State.BlankBeforeColon when b is (byte)' ' or (byte)'\t':
                _state = State.BlankBeforeColon;
                break;
            case State.LineStart or State.Name when b is > (byte)' ' and < 127 and not (byte)':':
                int at = _state == State.LineStart ? 0 : _matched;
                _matched = at >= 0 && at < Received.Length && (b | 0x20) == Received[at] ? at + 1 : -1;
                _nameLength = _state == State.LineStart ? 1 : _nameLength + 1;
                _state = _nameLength <= MaxName ? State.Name : State.Body;
                break;
            default:
                _state = State.Body;
                break;
        }
    }
}
