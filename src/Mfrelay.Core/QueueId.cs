using System.Diagnostics.CodeAnalysis;
using System.Numerics;

namespace Mfrelay.Core;

/// <summary>
/// The key of one message: first on every log line, in the Received: field, in every table.
/// 63 bits, ascending with time: milliseconds since 2024-01-01 UTC, shifted left by 14, plus a counter.
/// Written as 13 characters of a base-32 alphabet without vowels, in ASCII order: no id reads as a word, and the text sorts as the number does.
/// </summary>
public readonly record struct QueueId(long Value) : ISpanFormattable
{
    /// <summary>Characters of a written id.</summary>
    public const int Length = 13;

    private static ReadOnlySpan<byte> Alphabet => "0123456789_bcdfghjklmnpqrstvwxyz"u8;

    /// <summary>When it was given out, unless the clock has been set back.</summary>
    public DateTimeOffset Time => QueueIdSource.TimeOf(this);

    public override string ToString() => string.Create(Length, Value, static (text, value) => Write(value, text));

    /// <summary>Writes the id as ASCII bytes, which is what the wire and the spool want.</summary>
    public void Format(Span<byte> destination) => Write(Value, destination);

    bool ISpanFormattable.TryFormat(Span<char> destination, out int charsWritten, ReadOnlySpan<char> format, IFormatProvider? provider)
    {
        charsWritten = destination.Length < Length ? 0 : Length;
        if (charsWritten > 0)
            Write(Value, destination);
        return charsWritten > 0;
    }

    string IFormattable.ToString(string? format, IFormatProvider? formatProvider) => ToString();

    public static bool TryParse(ReadOnlySpan<char> text, [NotNullWhen(true)] out QueueId id)
    {
        id = default;
        if (text.Length != Length)
            return false;
        long value = 0;
        foreach (char c in text)
        {
            int digit = c < 128 ? Alphabet.IndexOf((byte)c) : -1;
            if (digit < 0 || value > long.MaxValue >> 5)
                return false;
            value = (value << 5) | (uint)digit;
        }
        id = new QueueId(value);
        return true;
    }

    private static void Write<T>(long value, Span<T> text) where T : unmanaged, IBinaryInteger<T>
    {
        for (int i = Length - 1; i >= 0; i--, value >>= 5)
            text[i] = T.CreateTruncating(Alphabet[(int)(value & 31)]);
    }
}

/// <summary>
/// Gives out ascending ids from the clock. A clock that is set back does not repeat an id: the source then counts on from the last one.
/// Segments of the spool are numbered from the same source. The server's ids are even and the client's odd: the two never meet.
/// </summary>
public sealed class QueueIdSource(TimeProvider time, long after = 0, SpoolOwner owner = SpoolOwner.Server)
{
    private const int CounterBits = 14;
    private static readonly DateTimeOffset Epoch = new(2024, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private long _last = after;

    public static DateTimeOffset TimeOf(QueueId id) => Epoch.AddMilliseconds(id.Value >> CounterBits);

    public QueueId Next()
    {
        long now = (long)(time.GetUtcNow() - Epoch).TotalMilliseconds << CounterBits;
        while (true)
        {
            long last = Volatile.Read(ref _last);
            long next = Math.Max(now, last + 1);
            next += (next ^ (long)owner) & 1;
            if (Interlocked.CompareExchange(ref _last, next, last) == last)
                return new QueueId(next);
        }
    }
}
