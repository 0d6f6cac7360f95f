using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>
/// A message read back from the spool, checked against its checksums. A small one is in memory, a large one in its file.
/// </summary>
public sealed class SpooledMessage : IDisposable
{
    private const int EnvelopeGuess = 1024;

    private readonly SafeFileHandle? _file;
    private readonly ReadOnlyMemory<byte> _data;
    private byte[]? _rented;
    private string? _messageId;

    private SpooledMessage(Envelope envelope, long size, bool eightBit, ReadOnlyMemory<byte> data, SafeFileHandle? file, byte[]? rented) =>
        (Envelope, Size, EightBit, _data, _file, _rented) = (envelope, size, eightBit, data, file, rented);

    public Envelope Envelope { get; }

    /// <summary>Octets of mail data, our trace header included. They end in CRLF and are not dot-stuffed.</summary>
    public long Size { get; }

    /// <summary>Mail data has octets above 127.</summary>
    public bool EightBit { get; }

    /// <summary>Of its header, without the brackets; empty when there is none. Read when asked for.</summary>
    public string MessageId => _messageId ??= HeaderScan.MessageIdOf(Read(0, new byte[_file is null ? 0 : 64 * 1024]).Span);

    /// <summary>A message that is not in the spool: for what makes or tests mail in memory.</summary>
    public static SpooledMessage FromMemory(Envelope envelope, ReadOnlyMemory<byte> data) =>
        new(envelope, data.Length, !System.Text.Ascii.IsValid(data.Span), data, null, null);

    /// <summary>
    /// Mail data from an offset on: all that is left when it is in memory (<paramref name="scratch"/> is not used), else what fits scratch.
    /// </summary>
    public ReadOnlyMemory<byte> Read(long offset, Memory<byte> scratch)
    {
        if (_file is null)
            return _data[(int)offset..];
        int n = RandomAccess.Read(_file, scratch.Span, offset);
        return n > 0 || offset == Size ? scratch[..n] : throw new IOException($"mail data of {Envelope.Id} ends early at {offset}");
    }

    public void Dispose()
    {
        _file?.Dispose();
        if (_rented is not null)
            ArrayPool<byte>.Shared.Return(_rented);
        _rented = null;
    }

    /// <summary>Null, with the reason, when the record is not there or does not match its checksums.</summary>
    internal static SpooledMessage? Open(string spool, SafeFileHandle segmentFile, Delivery delivery, out string? damage)
    {
        SpoolPosition position = delivery.Position;
        byte[] bytes = ArrayPool<byte>.Shared.Rent(
            SpoolFormat.HeadLength + EnvelopeGuess + (delivery.Size <= IncomingMessage.MemoryLimit ? (int)delivery.Size : 0));
        SpooledMessage? message = null;
        try
        {
            int n = RandomAccess.Read(segmentFile, bytes, position.Offset);
            if (!RecordHead.TryRead(bytes.AsSpan(0, n), position.Segment, out RecordHead head) || !head.IsMessage)
            {
                damage = "no record begins here";
                return null;
            }
            if (head.Id != delivery.Id)
            {
                damage = $"the record there is {head.Id}";
                return null;
            }
            if (n < head.RecordLength)
            {
                if (head.RecordLength > RandomAccess.GetLength(segmentFile) - position.Offset || head.RecordLength > Array.MaxLength)
                {
                    damage = "the record is longer than its segment";
                    return null;
                }
                // The guess was too small: many recipients, or a wrong hint.
                ArrayPool<byte>.Shared.Return(bytes);
                bytes = ArrayPool<byte>.Shared.Rent((int)head.RecordLength);
                n = RandomAccess.Read(segmentFile, bytes.AsSpan(0, (int)head.RecordLength), position.Offset);
            }
            message = Read(spool, head, bytes, n, delivery.Envelope, out damage);
            return message;
        }
        finally
        {
            if (message?._rented is null)
                ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    private static SpooledMessage? Read(string spool, RecordHead head, byte[] bytes, int n, Envelope? envelope, out string? damage)
    {
        int dataAt = SpoolFormat.HeadLength + head.EnvelopeLength;
        bool eightBit = head.Flags.HasFlag(RecordFlags.EightBit);
        damage = SpoolScanner.EnvelopeDamage;
        if (n < dataAt + head.InlineLength || Crc32C.Of(bytes.AsSpan(SpoolFormat.HeadLength, head.EnvelopeLength)) != head.EnvelopeCrc)
            return null;
        envelope ??= EnvelopeText.Parse(bytes.AsSpan(SpoolFormat.HeadLength, head.EnvelopeLength));
        if (envelope is null)
            return null;
        damage = SpoolScanner.DataDamage;
        if (head.Kind == RecordKind.Message)
        {
            Memory<byte> data = bytes.AsMemory(dataAt, (int)head.DataLength);
            if (Crc32C.Of(data.Span) != head.DataCrc)
                return null;
            damage = null;
            return new SpooledMessage(envelope, head.DataLength, eightBit, data, null, bytes);
        }

        return SpoolScanner.OpenLargeData(spool, head, out damage) is { } file
            ? new SpooledMessage(envelope, head.DataLength, eightBit, default, file, null)
            : null;
    }
}

/// <summary>Opens messages by position and keeps the segments that it reads from open. Safe for use by several threads.</summary>
public sealed class SpoolReader(string spool) : IDisposable
{
    private const int OpenSegments = 64;

    private readonly Dictionary<long, SafeFileHandle> _segments = [];

    /// <summary>Null, with the reason, when the message cannot be read.</summary>
    public SpooledMessage? Open(Delivery delivery, out string? damage)
    {
        while (true)
        {
            try
            {
                return SpooledMessage.Open(spool, SegmentFile(delivery.Position.Segment), delivery, out damage);
            }
            catch (ObjectDisposedException)
            {
                // Another thread needed room for another segment: opened again.
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                damage = e.Message;
                return null;
            }
        }
    }

    public void Dispose() => Forget();

    /// <summary>Closes the segments: after one was removed, or at the end.</summary>
    public void Forget()
    {
        lock (_segments)
        {
            foreach (SafeFileHandle file in _segments.Values)
                file.Dispose();
            _segments.Clear();
        }
    }

    /// <summary>Closes one segment, which is about to be removed.</summary>
    public void Forget(long segment)
    {
        lock (_segments)
        {
            if (_segments.Remove(segment, out SafeFileHandle? file))
                file.Dispose();
        }
    }

    private SafeFileHandle SegmentFile(long segment)
    {
        lock (_segments)
        {
            if (_segments.TryGetValue(segment, out SafeFileHandle? file))
                return file;
            if (_segments.Count >= OpenSegments)
                Forget();
            return _segments[segment] = SpoolScanner.Open(spool, segment);
        }
    }
}
