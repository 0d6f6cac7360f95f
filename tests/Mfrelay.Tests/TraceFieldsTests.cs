using System.Text;
using Mfrelay.Client;
using Xunit;

namespace Mfrelay.Tests;

public sealed class TraceFieldsTests
{
    [Theory]
    [InlineData("", 0)]
    [InlineData("Received: a", 1)]
    [InlineData("Received: a\r\nSubject: x\r\nRECEIVED: b\r\n by c\r\n\r\nReceived: in the text\r\n", 2)]
    [InlineData("Subject: Received: x\r\n Received: folded\r\nX-Received: y\r\n\r\n", 0)]
    [InlineData("\r\nReceived: no header at all\r\n", 0)]
    [InlineData("\nReceived: no header at all\n", 0)]
    public void Only_the_fields_of_the_header_count(string data, int expected) => Assert.Equal(expected, TraceFields.Received(Encoding.ASCII.GetBytes(data)));
}
