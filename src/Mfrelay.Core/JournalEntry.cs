using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Mfrelay.Core;

/// <summary>
/// One entry in the journal's native form: "NAME=value" lines, or for a value with a line feed in it NAME, line feed, length as u64 little
/// endian, value. Built in one buffer that is used again; belongs to one thread.
/// </summary>
internal sealed class JournalEntry(string identifier)
{
    /// <summary>
    /// Octets of one value. What is longer is cut: an entry of a dozen such values still fits one datagram (net.core.wmem_max is 208 KiB
    /// unless changed), so no entry needs a memory file of its own. Replies and paths are far shorter; only a stack trace comes near.
    /// </summary>
    public const int ValueLimit = 8 * 1024;

    private static readonly byte[] CutMark = [.. " [...]"u8];

    private readonly Dictionary<LogEvent, string[]> _fields = [];
    private byte[] _buffer = new byte[4096];
    private int _length;

    /// <summary>Valid until the next call.</summary>
    public ReadOnlySpan<byte> Encode(LogEvent what, string line, ReadOnlySpan<object?> values)
    {
        _length = 0;
        Add("MESSAGE", line);
        Add("PRIORITY", what.Priority);
        Add("SYSLOG_IDENTIFIER", identifier);
        Add("MF_CODE", what.Code);
        if (!_fields.TryGetValue(what, out string[]? names))
            _fields[what] = names = [.. what.Names.Select(FieldName)];
        for (int i = 0; i < names.Length && i < values.Length; i++)
        {
            string text = string.Create(CultureInfo.InvariantCulture, $"{values[i]}");
            Add(names[i], text);
            if (string.Equals(names[i], "MF_ADDRESS", StringComparison.Ordinal))
                AddHostAndPort(text);
        }
        return _buffer.AsSpan(0, _length);
    }

    /// <summary>The field of a value: id is MF_QUEUE_ID, every other name is itself in capitals (B4).</summary>
    public static string FieldName(string name) =>
        string.Equals(name, "id", StringComparison.Ordinal) ? "MF_QUEUE_ID" : $"MF_{JsonNamingPolicy.SnakeCaseUpper.ConvertName(name)}";

    // "192.0.2.1:25", "[2001:db8::1]:25": lines that name a mail server in one value have the same two fields as those that name it in two.
    private void AddHostAndPort(string address)
    {
        int colon = address.LastIndexOf(':');
        if (colon < 0)
            return;
        Add("MF_HOST", address[..colon].Trim('[', ']'));
        Add("MF_PORT", address[(colon + 1)..]);
    }

    private void Add(string name, string value)
    {
        int most = Encoding.UTF8.GetMaxByteCount(value.Length);
        Room(name.Length + most + 16);
        _length += Encoding.ASCII.GetBytes(name, _buffer.AsSpan(_length));
        bool binary = value.Contains('\n', StringComparison.Ordinal);
        int start = _length + 1 + (binary ? sizeof(ulong) : 0);
        int length = Cut(start, Encoding.UTF8.GetBytes(value, _buffer.AsSpan(start)));
        _buffer[_length] = binary ? (byte)'\n' : (byte)'=';
        if (binary)
            BinaryPrimitives.WriteUInt64LittleEndian(_buffer.AsSpan(_length + 1), (ulong)length);
        _length = start + length;
        _buffer[_length++] = (byte)'\n';
    }

    /// <summary>The length that stays, with a mark at its end when something was cut off; never half a character.</summary>
    private int Cut(int start, int length)
    {
        if (length <= ValueLimit)
            return length;
        int end = ValueLimit - CutMark.Length;
        while ((_buffer[start + end] & 0xC0) == 0x80)
            end--;
        CutMark.CopyTo(_buffer, start + end);
        return end + CutMark.Length;
    }

    private void Room(int more)
    {
        if (_buffer.Length - _length < more)
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + more));
    }
}
