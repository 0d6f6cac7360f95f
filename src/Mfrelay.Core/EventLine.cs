using System.Buffers;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Encodings.Web;

namespace Mfrelay.Core;

/// <summary>One line on its way to a file, as UTF-8 in a buffer of the pool: JSON field by field, or CSV cell by cell.</summary>
internal ref struct EventLine
{
    /// <summary>Octets of a time: "2026-11-24T20:40:01.123+09:00".</summary>
    public const int TimeLength = 29;

    private const int RoundTripLength = 33;
    private const int OffsetLength = 6;

    /// <summary>Octets of the largest buffer of the pool.</summary>
    public const int MaxPooled = 4096;

    /// <summary>Octets that a number of seconds takes at most.</summary>
    public const int MaxSeconds = 24;

    /// <summary>Letters of any language stay readable; quotes, and whatever could command a terminal or end a line, do not.</summary>
    public static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>One of its own: the shared pool has a few dozen buffers of a size, and thousands of lines gather between two writes.</summary>
    public static readonly ArrayPool<byte> Pool = ArrayPool<byte>.Create(MaxPooled, maxArraysPerBucket: 4096);

    private static readonly SearchValues<char> Quoted = SearchValues.Create("\",");

    public EventLine()
        : this(512)
    {
    }

    /// <param name="room">Octets that it will have, as far as that is known.</param>
    public EventLine(int room) => Bytes = Pool.Rent(room);

    public byte[] Bytes { get; private set; }
    public int Length { get; private set; }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Raw(ReadOnlySpan<byte> text)
    {
        text.CopyTo(Room(text.Length));
        Length += text.Length;
    }

    /// <summary>By way of the format "O", which has four places more and takes half the time of one of our own.</summary>
    public void Time(DateTimeOffset time)
    {
        WriteTime(time, Room(TimeLength));
        Length += TimeLength;
    }

    /// <summary><see cref="TimeLength"/> octets.</summary>
    public static void WriteTime(DateTimeOffset time, Span<byte> text)
    {
        Span<byte> whole = stackalloc byte[RoundTripLength];
        time.TryFormat(whole, out _, "O", CultureInfo.InvariantCulture);
        whole[..(TimeLength - OffsetLength)].CopyTo(text);
        whole[^OffsetLength..].CopyTo(text[(TimeLength - OffsetLength)..]);
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

    public void Field(ReadOnlySpan<byte> name, IReadOnlyList<Recipient> recipients)
    {
        Name(name);
        Raw("["u8);
        for (int i = 0; i < recipients.Count; i++)
        {
            if (i > 0)
                Raw(","u8);
            JsonString(recipients[i].ForwardPath);
        }
        Raw("]"u8);
    }

    /// <summary>In seconds with milliseconds; never negative, though the clock may have been set.</summary>
    public void Field(ReadOnlySpan<byte> name, TimeSpan span)
    {
        Name(name);
        Length += WriteSeconds(span > TimeSpan.Zero ? span : TimeSpan.Zero, Room(MaxSeconds));
    }

    /// <summary>"0.012", "-86400.000": with three places, like the format "0.000" of a number, which takes ten times as long.</summary>
    /// <returns>How many octets, at most <see cref="MaxSeconds"/>.</returns>
    public static int WriteSeconds(TimeSpan span, Span<byte> text)
    {
        ulong milliseconds = ((ulong)Math.Abs(span.Ticks) + (TimeSpan.TicksPerMillisecond / 2)) / TimeSpan.TicksPerMillisecond;
        int sign = span < TimeSpan.Zero && milliseconds > 0 ? 1 : 0;
        text[0] = (byte)'-';
        (milliseconds / 1000).TryFormat(text[sign..], out int digits, provider: CultureInfo.InvariantCulture);
        Span<byte> places = text.Slice(sign + digits, 4);
        int rest = (int)(milliseconds % 1000);
        (places[0], places[1], places[2], places[3]) = ((byte)'.', (byte)('0' + (rest / 100)), (byte)('0' + (rest / 10 % 10)), (byte)('0' + (rest % 10)));
        return sign + digits + places.Length;
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
        Span<byte> room = Room(name.Length + 4);
        (room[0], room[1]) = ((byte)',', (byte)'"');
        name.CopyTo(room[2..]);
        (room[name.Length + 2], room[name.Length + 3]) = ((byte)'"', (byte)':');
        Length += name.Length + 4;
    }

    private void Utf8(string text) => Length += Encoding.UTF8.GetBytes(text, Room(text.Length * 3));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Span<byte> Room(int octets)
    {
        if (Bytes.Length - Length < octets)
            Grow(octets);
        return Bytes.AsSpan(Length);
    }

    private void Grow(int octets)
    {
        byte[] larger = Pool.Rent(Math.Max(Bytes.Length * 2, Length + octets));
        Bytes.AsSpan(0, Length).CopyTo(larger);
        Pool.Return(Bytes);
        Bytes = larger;
    }
}
