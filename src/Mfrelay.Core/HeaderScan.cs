using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Mfrelay.Core;

/// <summary>
/// The header section of mail data as it goes by (RFC 5322 2.2): how long it is, how often the message has been handed on (RFC 5321
/// 6.3 counts Received fields), and its Message-ID. It ends at an empty line, or at the first line that is no field. Any segmentation.
/// </summary>
internal struct HeaderScan
{
    /// <summary>RFC 5322 2.1.1: no line is longer, and so no name, and no Message-ID that is worth keeping.</summary>
    private const int MaxName = 998;

    private State _state;
    private NameStart _name;
    private int _nameLength;

    /// <summary>The value of the first Message-ID field so far.</summary>
    private List<byte>? _messageId;
    private bool _inMessageId;

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

    /// <summary>Without the brackets; empty when there is none. What is not UTF-8 in it is replaced.</summary>
    public readonly string MessageId
    {
        get
        {
            if (_messageId is null)
                return "";
            // Unfolded.
            Span<byte> value = stackalloc byte[MaxName];
            int length = 0;
            foreach (byte b in CollectionsMarshal.AsSpan(_messageId))
            {
                if (b is not ((byte)'\r' or (byte)'\n'))
                    value[length++] = b;
            }
            string text = Encoding.UTF8.GetString(value[..length].Trim(" \t"u8));
            return text is ['<', .. var inner, '>'] ? inner : text;
        }
    }

    private static ReadOnlySpan<byte> Received => "received"u8;
    private static ReadOnlySpan<byte> MessageIdName => "message-id"u8;

    /// <summary>The Message-ID of stored mail.</summary>
    public static string MessageIdOf(ReadOnlySpan<byte> data)
    {
        var scan = new HeaderScan();
        scan.Scan(data);
        return scan.MessageId;
    }

    public void Scan(ReadOnlySpan<byte> bytes)
    {
        int i = 0;
        while (i < bytes.Length && _state != State.Body)
        {
            if (_state == State.Value)
            {
                int end = bytes[i..].IndexOf((byte)'\n');
                int next = end < 0 ? bytes.Length : i + end + 1;
                if (_inMessageId && _messageId is not null)
                    _messageId.AddRange(bytes.Slice(i, Math.Min(next - i, MaxName - _messageId.Count)));
                i = next;
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
                EndName();
                _state = State.Value;
                break;
            case State.Name or State.BlankBeforeColon when b is (byte)' ' or (byte)'\t':
                _state = State.BlankBeforeColon;
                break;
            case State.LineStart or State.Name when b is > (byte)' ' and < 127 and not (byte)':':
                _nameLength = _state == State.LineStart ? 1 : _nameLength + 1;
                if (_nameLength <= NameStart.Length)
                    _name[_nameLength - 1] = (byte)(b | 0x20);
                _state = _nameLength <= MaxName ? State.Name : State.Body;
                break;
            default:
                _state = State.Body;
                break;
        }
    }

    private void EndName()
    {
        ReadOnlySpan<byte> name = _nameLength <= NameStart.Length ? _name[.._nameLength] : default;
        if (name.SequenceEqual(Received))
            Hops++;
        _inMessageId = _messageId is null && name.SequenceEqual(MessageIdName);
        if (_inMessageId)
            _messageId = new List<byte>(128);
    }

    /// <summary>As much of a name as tells the fields that matter from all others, in lower case.</summary>
    [InlineArray(Length)]
    private struct NameStart
    {
        public const int Length = 10;
        private byte _first;
    }
}
