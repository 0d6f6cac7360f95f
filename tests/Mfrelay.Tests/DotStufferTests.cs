using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Client;
using Xunit;

namespace Mfrelay.Tests;

public sealed class DotStufferTests
{
    /// <summary>Mail data made mostly of what matters: dots, CR, LF; always ending in CRLF as stored mail data does.</summary>
    internal static Gen<byte[]> MailData { get; } =
        Gen.Frequency(
                (4, Gen.Constant("\r\n"u8.ToArray())),
                (4, Gen.Constant("."u8.ToArray())),
                (1, Gen.Constant("\r\n."u8.ToArray())),
                (1, Gen.Constant("\n."u8.ToArray())),
                (2, ArbMap.Default.GeneratorFor<byte>().Select(octet => new[] { octet })),
                (1, Gen.Constant(Encoding.ASCII.GetBytes(new string('x', 60)))))
            .ListOf()
            .Select(pieces => (byte[])[.. pieces.SelectMany(piece => piece), (byte)'\r', (byte)'\n']);

    [Theory]
    [InlineData("", ".\r\n")]
    [InlineData(".\r\n", "..\r\n.\r\n")]
    [InlineData("..\r\n", "...\r\n.\r\n")]
    [InlineData("a\r\n.b\r\n", "a\r\n..b\r\n.\r\n")]
    [InlineData("a.b\r\n", "a.b\r\n.\r\n")]
    [InlineData("\r\n\r\n.\r\n.\r\n", "\r\n\r\n..\r\n..\r\n.\r\n")]
    [InlineData("a\n.\r\nb\r\n", "a\n..\r\nb\r\n.\r\n")]
    [InlineData("no end", "no end\r\n.\r\n")]
    [InlineData("bare\n", "bare\n\r\n.\r\n")]
    public void A_dot_at_the_begin_of_a_line_is_doubled(string data, string expected)
    {
        byte[] bytes = Encoding.ASCII.GetBytes(data);
        for (int source = 1; source <= bytes.Length + 1; source++)
        {
            for (int destination = 1; destination < 20; destination++)
                Assert.Equal(expected, Encoding.ASCII.GetString(Stuff(bytes, source, destination)));
        }
    }

    [Fact]
    public void Taking_the_dots_away_gives_the_data_back_at_every_block_size() =>
        Prop.ForAll(
            MailData.Zip(Gen.Choose(1, 70)).Zip(Gen.Choose(1, 70)).ToArbitrary(),
            item => Unstuff(Stuff(item.Item1.Item1, item.Item1.Item2, item.Item2)).SequenceEqual(item.Item1.Item1))
        .Check(Config.QuickThrowOnFailure.WithMaxTest(2000).WithEndSize(200));

    private static byte[] Stuff(byte[] data, int sourceBlock, int destinationBlock)
    {
        var stuffer = new DotStuffer();
        var wire = new List<byte>();
        byte[] block = new byte[destinationBlock];
        for (int at = 0; at < data.Length;)
        {
            stuffer.Encode(data.AsSpan(at, Math.Min(sourceBlock, data.Length - at)), block, out int consumed, out int written);
            Assert.True(written > 0);
            at += consumed;
            wire.AddRange(block.AsSpan(0, written));
        }
        wire.AddRange(stuffer.End);
        return [.. wire];
    }

    /// <summary>The slow oracle: an octet at a time, ending only at CRLF "." CRLF, and nothing may follow that.</summary>
    private static byte[] Unstuff(byte[] wire)
    {
        var data = new List<byte>();
        for (int i = 0; i < wire.Length; i++)
        {
            bool lineStart = i == 0 || wire[i - 1] == '\n';
            bool afterCrLf = i == 0 || (i > 1 && wire[i - 2] == '\r' && wire[i - 1] == '\n');
            if (afterCrLf && wire.AsSpan(i).StartsWith(".\r\n"u8))
                return i + 3 == wire.Length ? [.. data] : throw new InvalidOperationException("Ends too early");
            if (!lineStart || wire[i] != '.')
                data.Add(wire[i]);
            else if (i + 1 < wire.Length)
                data.Add(wire[++i]);
        }
        throw new InvalidOperationException("Does not end");
    }
}
