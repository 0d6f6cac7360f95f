using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;

namespace Mfrelay.Core;

/// <summary>One line on its way to a file, as UTF-8 in a buffer of the pool: JSON field by field, or CSV cell by cell.</summary>
internal ref struct EventLine
{
    /// <summary>As an event is written: "2026-11-24T20:40:01.123+09:00", always so many octets.</summary>
    public const string TimeFormat = "yyyy-MM-ddTHH:mm:ss.fffzzz";
    public const int TimeLength = 29;

    /// <summary>Letters of any language stay readable; quotes, and whatever could command a terminal or end a line, do not.</summary>
    public static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>One of its own: the shared pool has a few dozen buffers of a size, and thousands of lines gather between two writes.</summary>
    public static readonly ArrayPool<byte> Pool = ArrayPool<byte>.Create(maxArrayLength: 4096, maxArraysPerBucket: 4096);

    private static readonly SearchValues<char> Quoted = SearchValues.Create("\",");

    public EventLine() => Bytes = Pool.Rent(512);

    public byte[] Bytes { get; private set; }
    public int Length { get; private set; }

    public void Raw(ReadOnlySpan<byte> text)
    {
        text.CopyTo(Room(text.Length));
        Length += text.Length;
    }

    public void Time(DateTimeOffset time)
    {
        time.TryFormat(Room(TimeLength), out int length, TimeFormat, CultureInfo.InvariantCulture);
        Length += length;
    }

    public void Number(long number)
    {
        number.TryFormat(Room(20), out int length, provider: CultureInfo.InvariantCulture);
        Length += length;
    }

    public void Id(QueueId id)
    {
        id.Format(Room(QueueId.Length));
        Length += QueueId.Length;
    }

    /// <summary>A string of JSON, with its quotes. A half of a surrogate pair becomes U+FFFD.</summary>
    public void JsonString(string text)
    {
        Raw("\""u8);
        int start = Length;
        Utf8(text);
        if (Encoder.FindFirstCharacterToEncodeUtf8(Bytes.AsSpan(start, Length - start)) >= 0)
        {
            Length = start;
            Utf8(Encoder.Encode(text));
        }
        Raw("\""u8);
    }

    public void Field(ReadOnlySpan<byte> name, string value)
    {
        Name(name);
        JsonString(value);
    }

    public void Field(ReadOnlySpan<byte> name, long value)
    {
        Name(name);
        Number(value);
    }

    public void Field(ReadOnlySpan<byte> name, DateTimeOffset time)
    {
        Name(name);
        Raw("\""u8);
        Time(time);
        Raw("\""u8);
    }

    public void Field(ReadOnlySpan<byte> name, IEnumerable<string> values)
    {
        Name(name);
        bool first = true;
        foreach (string value in values)
        {
            Raw(first ? "["u8 : ","u8);
            JsonString(value);
            first = false;
        }
        Raw(first ? "[]"u8 : "]"u8);
    }

    /// <summary>In seconds with milliseconds; never negative, though the clock may have been set.</summary>
    public void Field(ReadOnlySpan<byte> name, TimeSpan span)
    {
        Name(name);
        double seconds = Math.Max(0, span.TotalSeconds);
        seconds.TryFormat(Room(32), out int length, "0.000", CultureInfo.InvariantCulture);
        Length += length;
    }

    /// <summary>
    /// The next cell of a row. RFC 4180 2: one with a comma or a quote stands in quotes, which are doubled. It would let line breaks stand in
    /// them too; a control character becomes "?", so that a row is a line.
    /// </summary>
    public void Cell(string text)
    {
        NextCell();
        if (text.AsSpan().IndexOfAny(Quoted) < 0 && !text.Any(IsControl))
        {
            Utf8(text);
            return;
        }
        Raw("\""u8);
        Utf8(Printable(text).Replace("\"", "\"\"", StringComparison.Ordinal));
        Raw("\""u8);
    }

    public void Cell(DateTimeOffset time)
    {
        NextCell();
        Time(time);
    }

    public void Cell(long number)
    {
        NextCell();
        Number(number);
    }

    /// <summary>With "?" for whatever could command a terminal or end a line.</summary>
    public static string Printable(string text) => text.Any(IsControl) ? string.Concat(text.Select(c => IsControl(c) ? '?' : c)) : text;

    /// <summary>Also what ends a line for some programs, or turns the direction of what follows (U+202A to U+202E, U+2066 to U+2069).</summary>
    public static bool IsControl(char c) => char.IsControl(c) || c is (>= '\u2028' and <= '\u202E') or (>= '\u2066' and <= '\u2069');

    private void NextCell()
    {
        if (Length > 0)
            Raw(","u8);
    }

    private void Name(ReadOnlySpan<byte> name)
    {
        Raw(",\""u8);
        Raw(name);
        Raw("\":"u8);
    }

    private void Utf8(string text) => Length += Encoding.UTF8.GetBytes(text, Room(text.Length * 3));

    private Span<byte> Room(int octets)
    {
        if (Bytes.Length - Length < octets)
        {
            byte[] larger = Pool.Rent(Math.Max(Bytes.Length * 2, Length + octets));
            Bytes.AsSpan(0, Length).CopyTo(larger);
            Pool.Return(Bytes);
            Bytes = larger;
        }
        return Bytes.AsSpan(Length);
    }
}
