using System.Buffers.Binary;

namespace Mfrelay.Fuzz;

/// <summary>Makes a new input of an old one: what AFL calls havoc, with the target's own words, and pieces of other inputs.</summary>
internal sealed class Mutator(FuzzTarget target)
{
    private static readonly byte[] Octets = [0, 1, 9, 10, 13, 16, 32, 34, 46, 48, 57, 60, 62, 64, 127, 128, 192, 255];
    private static readonly long[] Numbers =
        [0, 1, -1, 127, 128, 255, 256, 32767, 32768, 65535, 65536, int.MaxValue, int.MinValue, uint.MaxValue, long.MaxValue, long.MinValue];

    private readonly byte[] _buffer = new byte[target.MaxLength];
    private int _length;

    /// <summary>Valid until the next call.</summary>
    public ReadOnlySpan<byte> Mutate(ref Chance chance, IReadOnlyList<byte[]> corpus, byte[] parent)
    {
        _length = Math.Min(parent.Length, _buffer.Length);
        parent.AsSpan(0, _length).CopyTo(_buffer);
        for (int left = 1 << chance.Below(5); left > 0; left--)
            Change(ref chance, corpus);
        return _buffer.AsSpan(0, _length);
    }

    private void Change(ref Chance chance, IReadOnlyList<byte[]> corpus)
    {
        int kind = chance.Below(14);
        if (_length == 0)
            kind = 8 + (kind & 1);
        switch (kind)
        {
            case 0:
                _buffer[chance.Below(_length)] ^= (byte)(1 << chance.Below(8));
                break;
            case 1:
                _buffer[chance.Below(_length)] = (byte)chance.Next();
                break;
            case 2:
                _buffer[chance.Below(_length)] = Octets[chance.Below(Octets.Length)];
                break;
            case 3:
                _buffer[chance.Below(_length)] += (byte)(chance.Below(35) - 17);
                break;
            case 4 or 5:
                Delete(ref chance);
                break;
            case 6:
                WriteNumber(ref chance);
                break;
            case 7:
                Repeat(ref chance);
                break;
            case 8:
                InsertRandom(ref chance);
                break;
            case 9 when target.Tokens.Length > 0:
                byte[] token = target.Tokens[chance.Below(target.Tokens.Length)];
                token.CopyTo(Open(chance.Below(_length + 1), token.Length));
                break;
            case 10 when target.Tokens.Length > 0:
                byte[] over = target.Tokens[chance.Below(target.Tokens.Length)];
                int at = chance.Below(_length);
                over.AsSpan(0, Math.Min(over.Length, _length - at)).CopyTo(_buffer.AsSpan(at));
                break;
            case 11:
                Digit(ref chance);
                break;
            default:
                Splice(ref chance, corpus[chance.Below(corpus.Count)]);
                break;
        }
    }

    /// <summary>Room for octets at a place; as many as fit.</summary>
    private Span<byte> Open(int at, int count)
    {
        if (_length + count > _buffer.Length)
            return new byte[count]; // no room: to nowhere
        _buffer.AsSpan(at, _length - at).CopyTo(_buffer.AsSpan(at + count));
        _length += count;
        return _buffer.AsSpan(at, count);
    }

    private void Delete(ref Chance chance)
    {
        int at = chance.Below(_length);
        int count = 1 + chance.Below(Math.Min(_length - at, chance.Below(4) == 0 ? _length : 8));
        _buffer.AsSpan(at + count, _length - at - count).CopyTo(_buffer.AsSpan(at));
        _length -= count;
    }

    private void WriteNumber(ref Chance chance)
    {
        Span<byte> number = stackalloc byte[8];
        long value = Numbers[chance.Below(Numbers.Length)] + chance.Below(3) - 1;
        if (chance.Below(2) == 0)
            BinaryPrimitives.WriteInt64LittleEndian(number, value);
        else
            BinaryPrimitives.WriteInt64BigEndian(number, value << (8 * chance.Below(8)));
        int at = chance.Below(_length);
        int count = Math.Min(1 << chance.Below(4), _length - at);
        number[..count].CopyTo(_buffer.AsSpan(at));
    }

    private void Repeat(ref Chance chance)
    {
        int from = chance.Below(_length);
        int count = 1 + chance.Below(Math.Min(_length - from, 32));
        Span<byte> piece = stackalloc byte[32];
        _buffer.AsSpan(from, count).CopyTo(piece);
        piece[..count].CopyTo(Open(chance.Below(_length + 1), count));
    }

    private void InsertRandom(ref Chance chance)
    {
        Span<byte> room = Open(chance.Below(_length + 1), 1 + chance.Below(8));
        bool same = chance.Below(2) == 0;
        byte b = (byte)chance.Next();
        foreach (ref byte octet in room)
            octet = same ? b : (byte)chance.Next();
    }

    private void Digit(ref Chance chance)
    {
        int from = chance.Below(_length);
        int found = _buffer.AsSpan(from, _length - from).IndexOfAnyInRange((byte)'0', (byte)'9');
        if (found >= 0)
            _buffer[from + found] = (byte)('0' + chance.Below(10));
    }

    private void Splice(ref Chance chance, byte[] other)
    {
        if (other.Length == 0)
            return;
        int from = chance.Below(other.Length);
        int count = 1 + chance.Below(Math.Min(other.Length - from, 64));
        ReadOnlySpan<byte> piece = other.AsSpan(from, count);
        if (chance.Below(2) == 0)
        {
            piece.CopyTo(Open(chance.Below(_length + 1), count));
            return;
        }
        int at = chance.Below(_length);
        piece[..Math.Min(count, _length - at)].CopyTo(_buffer.AsSpan(at));
    }
}
