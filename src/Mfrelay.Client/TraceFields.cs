using System.Buffers;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>What the header of a message tells about its path (RFC 5321 4.4).</summary>
internal static class TraceFields
{
    /// <summary>Octets of a header that are looked at.</summary>
    private const int MaxHeader = 256 * 1024;

    private static ReadOnlySpan<byte> Name => "received:"u8;

    /// <summary>The number of its Received fields: one for each relay it has passed (RFC 5321 6.3).</summary>
    public static int Received(SpooledMessage message)
    {
        if (message.Size <= IncomingMessage.MemoryLimit)
            return Received(message.Read(0, default).Span);
        byte[] header = ArrayPool<byte>.Shared.Rent(MaxHeader);
        try
        {
            return Received(message.Read(0, header.AsMemory(0, MaxHeader)).Span);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(header);
        }
    }

    internal static int Received(ReadOnlySpan<byte> data)
    {
        int count = 0;
        while (true)
        {
            if (data.Length >= Name.Length && System.Text.Ascii.EqualsIgnoreCase(data[..Name.Length], Name))
                count++;
            int end = data.IndexOf((byte)'\n');
            // The header ends with an empty line.
            if (end <= 0 || (end == 1 && data[0] == '\r'))
                return count;
            data = data[(end + 1)..];
        }
    }
}
