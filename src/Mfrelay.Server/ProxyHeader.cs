using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Server;

internal enum ProxyResult
{
    NeedMore,
    Bad,

    /// <summary>The client's address follows from it.</summary>
    Proxied,

    /// <summary>LOCAL (version 2) or UNKNOWN (version 1): the balancer's own connection, for its health check.</summary>
    Local,
}

/// <summary>
/// What a balancer sends first (the PROXY protocol, versions 1 and 2):
/// <code>
/// "PROXY" SP ("TCP4" / "TCP6") SP source SP destination SP source-port SP destination-port CRLF       at most 107 octets
/// "PROXY UNKNOWN" [anything] CRLF
/// \r\n\r\n\0\r\nQUIT\n  version-and-command  family  u16 length  addresses  (big endian)
/// </code>
/// Pure: octets to value, consuming nothing when more is needed.
/// </summary>
internal static class ProxyHeader
{
    private const int MaxV1 = 107;

    /// <summary>Addresses, and room for the TLVs behind them, which are skipped.</summary>
    private const int MaxV2 = 4096;

    private const int V2Head = 16;

    private static ReadOnlySpan<byte> V2Signature => "\r\n\r\n\0\r\nQUIT\n"u8;

    /// <param name="length">Octets of the header, when there is one.</param>
    public static ProxyResult Parse(in ReadOnlySequence<byte> input, out long length, out IPEndPoint? client)
    {
        Span<byte> copy = stackalloc byte[V2Head + MaxV2];
        copy = copy[..(int)Math.Min(input.Length, copy.Length)];
        input.Slice(0, copy.Length).CopyTo(copy);
        ProxyResult result = Parse(copy, out int taken, out client);
        length = taken;
        return result;
    }

    public static ProxyResult Parse(ReadOnlySpan<byte> input, out int length, out IPEndPoint? client)
    {
        (length, client) = (0, null);
        if (input.IsEmpty)
            return ProxyResult.NeedMore;
        return input[0] == 'P' ? ParseV1(input, ref length, ref client) : ParseV2(input, ref length, ref client);
    }

    private static ProxyResult ParseV1(ReadOnlySpan<byte> input, ref int length, ref IPEndPoint? client)
    {
        ReadOnlySpan<byte> start = "PROXY "u8;
        if (!input.StartsWith(start[..Math.Min(start.Length, input.Length)]))
            return ProxyResult.Bad;
        int end = input[..Math.Min(input.Length, MaxV1)].IndexOf("\r\n"u8);
        if (end < 0)
            return input.Length >= MaxV1 ? ProxyResult.Bad : ProxyResult.NeedMore;
        string[] words = Encoding.Latin1.GetString(input[start.Length..Math.Max(end, start.Length)]).Split(' ');
        length = end + 2;
        if (words[0] is "UNKNOWN")
            return ProxyResult.Local;
        bool six = words[0] is "TCP6";
        if (words.Length != 5 || (!six && words[0] is not "TCP4")
            || AddressOf(words[1], six) is not { } source || AddressOf(words[2], six) is null
            || !ushort.TryParse(words[3], NumberStyles.None, CultureInfo.InvariantCulture, out ushort port)
            || !ushort.TryParse(words[4], NumberStyles.None, CultureInfo.InvariantCulture, out _))
            return ProxyResult.Bad;
        client = new IPEndPoint(source, port);
        return ProxyResult.Proxied;
    }

    private static IPAddress? AddressOf(string text, bool six) =>
        HostName.ParseAddress(text) is { } address && six == text.Contains(':', StringComparison.Ordinal) && !text.Contains('%', StringComparison.Ordinal)
            ? address
            : null;

    private static ProxyResult ParseV2(ReadOnlySpan<byte> input, ref int length, ref IPEndPoint? client)
    {
        if (!V2Signature.StartsWith(input[..Math.Min(input.Length, V2Signature.Length)]))
            return ProxyResult.Bad;
        if (input.Length < V2Head)
            return ProxyResult.NeedMore;
        byte command = input[12];
        byte family = input[13];
        int rest = BinaryPrimitives.ReadUInt16BigEndian(input[14..]);
        if (command is not (0x20 or 0x21) || rest > MaxV2)
            return ProxyResult.Bad;
        if (input.Length < V2Head + rest)
            return ProxyResult.NeedMore;
        length = V2Head + rest;
        if (command == 0x20)
            return ProxyResult.Local;
        ReadOnlySpan<byte> addresses = input.Slice(V2Head, rest);
        // TCP over IPv4 and IPv6; an SMTP client comes by nothing else.
        int octets = family == 0x11 ? 4 : family == 0x21 ? 16 : 0;
        if (octets == 0 || addresses.Length < (2 * octets) + 4)
            return ProxyResult.Bad;
        client = new IPEndPoint(new IPAddress(addresses[..octets]), BinaryPrimitives.ReadUInt16BigEndian(addresses[(2 * octets)..]));
        return ProxyResult.Proxied;
    }
}
