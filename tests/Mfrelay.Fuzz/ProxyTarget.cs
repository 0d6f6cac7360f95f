using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Mfrelay.Server;

namespace Mfrelay.Fuzz;

/// <summary>
/// PROXY headers. Oracles: what is decided is decided at one length, and every shorter input needs more; what follows changes nothing; the
/// client's address, written as a header again, is read as the same.
/// </summary>
internal static class ProxyTarget
{
    public static FuzzTarget Target { get; } = new("proxy", Run, [.. FuzzTarget.Words(
        "PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN", "\r\n", "192.0.2.1 ", "2001:db8::1 ", "::ffff:192.0.2.1", "fe80::1%1", "65535", " 25\r\n",
        "\r\n\r\n\0\r\nQUIT\n"), [0x21, 0x11, 0, 12], [0x21, 0x21, 0, 36], [0x20, 0, 0, 0], [0x21, 0x31, 0, 216]])
    { MaxLength = 300 };

    public static void Run(ReadOnlySpan<byte> input)
    {
        ProxyResult result = ProxyHeader.Parse(input, out int length, out IPEndPoint? client);
        Oracle.Holds(result != ProxyResult.NeedMore || (length == 0 && client is null), "nothing is taken when more is needed");
        Oracle.Holds((result == ProxyResult.Proxied) == client is not null, "an address comes with Proxied and only with it");
        if (result is not (ProxyResult.Proxied or ProxyResult.Local))
            return;
        Oracle.Holds(length > 0 && length <= input.Length, "a header has a length");
        CheckPrefixes(input[..length], result, length, client);
        if (client is not null)
            CheckAgain(client);
    }

    private static void CheckPrefixes(ReadOnlySpan<byte> header, ProxyResult result, int length, IPEndPoint? client)
    {
        for (int n = 0; n < header.Length; n++)
            Oracle.Holds(ProxyHeader.Parse(header[..n], out _, out _) == ProxyResult.NeedMore, "every shorter input needs more");
        var sequence = new ReadOnlySequence<byte>(header.ToArray());
        Oracle.Holds(ProxyHeader.Parse(sequence, out long again, out IPEndPoint? same) == result && again == length && Equals(same, client), "as a sequence it is the same");
    }

    private static void CheckAgain(IPEndPoint client)
    {
        bool six = client.AddressFamily == AddressFamily.InterNetworkV6;
        string text = string.Create(CultureInfo.InvariantCulture, $"PROXY {(six ? "TCP6" : "TCP4")} {client.Address} {client.Address} {client.Port} 25\r\n");
        Oracle.Holds(ProxyHeader.Parse(Encoding.ASCII.GetBytes(text), out int length, out IPEndPoint? same) == ProxyResult.Proxied
            && length == text.Length && client.Equals(same), "written as version 1 it is read as the same");

        Span<byte> binary = stackalloc byte[16 + 36];
        "\r\n\r\n\0\r\nQUIT\n"u8.CopyTo(binary);
        int octets = six ? 16 : 4;
        (binary[12], binary[13]) = (0x21, (byte)(six ? 0x21 : 0x11));
        BinaryPrimitives.WriteUInt16BigEndian(binary[14..], (ushort)((2 * octets) + 4));
        client.Address.TryWriteBytes(binary[16..], out _);
        BinaryPrimitives.WriteUInt16BigEndian(binary[(16 + (2 * octets))..], (ushort)client.Port);
        binary = binary[..(16 + (2 * octets) + 4)];
        Oracle.Holds(ProxyHeader.Parse(binary, out length, out same) == ProxyResult.Proxied && length == binary.Length && client.Equals(same),
            "written as version 2 it is read as the same");
    }
}
