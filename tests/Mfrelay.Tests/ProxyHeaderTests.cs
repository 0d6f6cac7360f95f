using System.Net;
using System.Text;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>Headers of both versions, each also cut off at every octet: more is needed then, and nothing was taken.</summary>
public sealed class ProxyHeaderTests
{
    private const string Signature = "\r\n\r\n\0\r\nQUIT\n";

    [Theory]
    [InlineData("PROXY TCP4 192.0.2.1 198.51.100.1 4711 25\r\n", "192.0.2.1:4711")]
    [InlineData("PROXY TCP6 2001:db8::1 2001:db8::2 65535 25\r\n", "[2001:db8::1]:65535")]
    [InlineData("PROXY UNKNOWN\r\n", null)]
    [InlineData("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", null)]
    [InlineData(Signature + "\x21\x11\0\x0C\xC0\0\x02\x01\xC6\x33\x64\x01\x12\x67\0\x19", "192.0.2.1:4711")]
    [InlineData(Signature + "\x21\x11\0\x10\xC0\0\x02\x01\xC6\x33\x64\x01\x12\x67\0\x19\x04\0\x01\0", "192.0.2.1:4711")] // and a TLV
    [InlineData(Signature + "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x12\x67\0\x19", "[2001:db8::1]:4711")]
    [InlineData(Signature + "\x20\0\0\0", null)]
    public void A_header_is_taken_whole_or_not_at_all(string text, string? client)
    {
        byte[] header = Encoding.Latin1.GetBytes(text);
        ProxyResult result = ProxyHeader.Parse([.. header, (byte)'E'], out int length, out IPEndPoint? endPoint);
        Assert.Equal((client is null ? ProxyResult.Local : ProxyResult.Proxied, header.Length, client), (result, length, endPoint?.ToString()));
        for (int i = 0; i < header.Length; i++)
        {
            Assert.Equal(ProxyResult.NeedMore, ProxyHeader.Parse(header.AsSpan(0, i), out int none, out _));
            Assert.Equal(0, none);
        }
    }

    [Theory]
    [InlineData("EHLO client.example\r\n")]
    [InlineData("PROXZ")]
    [InlineData("PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n")]
    [InlineData("PROXY TCP4 192.0.2 198.51.100.1 4711 25\r\n")]
    [InlineData("PROXY TCP4 2001:db8::1 2001:db8::2 4711 25\r\n")]
    [InlineData("PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n")]
    [InlineData("PROXY TCP4  192.0.2.1 198.51.100.1 4711 25\r\n")]
    [InlineData("PROXY TCP6 fe80::1%eth0 2001:db8::2 4711 25\r\n")]
    [InlineData("PROXY UNIX a b 1 2\r\n")]
    [InlineData("PROXY TCP4 192.0.2.1 198.51.100.1 4711 25                                                                              \r\n")]
    [InlineData(Signature + "\x11\x11\0\x0C")]
    [InlineData(Signature + "\x22\x11\0\x0C")]
    [InlineData(Signature + "\x21\x11\xFF\xFF")]
    [InlineData(Signature + "\x21\x31\0\x02\0\0")]
    [InlineData(Signature + "\x21\x11\0\x0B\xC0\0\x02\x01\xC6\x33\x64\x01\x12\x67\0")]
    public void What_is_no_header_is_not_taken(string text) =>
        Assert.Equal(ProxyResult.Bad, ProxyHeader.Parse(Encoding.Latin1.GetBytes(text), out _, out _));
}
