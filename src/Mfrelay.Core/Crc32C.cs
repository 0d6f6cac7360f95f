using System.Numerics;
using System.Runtime.InteropServices;

namespace Mfrelay.Core;

/// <summary>CRC-32C (RFC 3720 B.4) by the processor's instruction: the checksum of everything in the spool.</summary>
internal static class Crc32C
{
    public static uint Of(ReadOnlySpan<byte> bytes) => ~Append(uint.MaxValue, bytes);

    /// <summary>Continues a running checksum that began with <see cref="uint.MaxValue"/>; its complement is the result.</summary>
    public static uint Append(uint crc, ReadOnlySpan<byte> bytes)
    {
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes);
        foreach (ulong word in words)
            crc = BitOperations.Crc32C(crc, word);
        foreach (byte b in bytes[(words.Length * sizeof(ulong))..])
            crc = BitOperations.Crc32C(crc, b);
        return crc;
    }
}
