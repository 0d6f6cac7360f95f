using System.Net;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Core;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

public sealed class PathParserTests
{
    private static readonly Gen<byte[]> PathLike = Gen.Frequency(
            (4, Gen.Elements("<", ">", "@", "\"", "\\", ".", ":", ",", "[", "]", "IPv6:", "::1", "127.0.0.1", "a", "b.example", " ", "\u00e9").Select(Encoding.UTF8.GetBytes)),
            (1, ArbMap.Default.GeneratorFor<byte>().Select(octet => new[] { octet })))
        .ListOf()
        .Select(pieces => (byte[])[(byte)'<', .. pieces.SelectMany(piece => piece), (byte)'>']);

    [Theory]
    [InlineData("<>", nameof(PathKind.Null), "")]
    [InlineData("<a@b>", nameof(PathKind.Mailbox), "a@b")]
    [InlineData("<a@b> SIZE=1", nameof(PathKind.Mailbox), "a@b")]
    [InlineData("<@x,@y:a@b>", nameof(PathKind.Mailbox), "a@b")]
    [InlineData("<@[IPv6:::1],@[192.0.2.1]:a@b>", nameof(PathKind.Mailbox), "a@b")]
    [InlineData("<@[IPv6:::1]a@b>", nameof(PathKind.Bad), "")]
    [InlineData("<@x,y:a@b>", nameof(PathKind.Bad), "")]
    [InlineData("<\"a>@b\"@c>", nameof(PathKind.Mailbox), "\"a>@b\"@c")]
    [InlineData("<postmaster>", nameof(PathKind.LocalOnly), "postmaster")]
    [InlineData("<a@[IPv6:2001:db8::1]>", nameof(PathKind.Mailbox), "a@[IPv6:2001:db8::1]")]
    [InlineData("<a@[0x7f.0.0.1]>", nameof(PathKind.Bad), "")]
    [InlineData("<a@[IPv6:[::1]:25]>", nameof(PathKind.Bad), "")]
    [InlineData("<a@[IPv6:fe80::1%1]>", nameof(PathKind.Bad), "")]
    [InlineData("<a@[]>", nameof(PathKind.Bad), "")]
    [InlineData("<a@[>", nameof(PathKind.Bad), "")]
    [InlineData("<\"a", nameof(PathKind.Bad), "")]
    [InlineData("<\"a\\", nameof(PathKind.Bad), "")]
    [InlineData("<\"a\"", nameof(PathKind.Bad), "")]
    [InlineData("<a", nameof(PathKind.Bad), "")]
    [InlineData("<", nameof(PathKind.Bad), "")]
    [InlineData("", nameof(PathKind.Bad), "")]
    public void A_path_is_read_to_its_bracket(string input, string kind, string expected)
    {
        PathKind actual = PathParser.Parse(Encoding.ASCII.GetBytes(input), out int length, out ReadOnlySpan<byte> address);
        Assert.Equal(kind, actual.ToString());
        Assert.Equal(expected, Encoding.ASCII.GetString(address));
        Assert.True(actual == PathKind.Bad ? length == 0 : input[length - 1] == '>');
    }

    [Fact]
    public void A_good_address_in_brackets_reads_as_itself() =>
        Prop.ForAll(PathLike.ToArbitrary(), input =>
        {
            PathKind kind = PathParser.Parse(input, out _, out ReadOnlySpan<byte> address);
            if (kind is PathKind.Bad or PathKind.Null)
                return true;
            byte[] again = [(byte)'<', .. address, (byte)'>'];
            return PathParser.Parse(again, out int length, out ReadOnlySpan<byte> same) == kind && length == again.Length && same.SequenceEqual(address);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(5000).WithEndSize(20));

    [Fact]
    public void No_command_line_breaks_the_session()
    {
        var admission = new Admission(Receiving.DefaultSettings with { Server = new ServerSettings { MaxErrors = 10_000 } }, health: null);
        var session = new SmtpSession(() => admission, IPAddress.Loopback);
        Gen<byte[]> verbs = Gen.Elements("EHLO x", "HELO ", "MAIL FROM:", "RCPT TO:", "DATA", "BDAT ", "RSET", "NOOP", "VRFY ", "MAIL FROM:<a@b> ", "RCPT TO:<a@b> ",
            "MAIL FROM:<a@b> SIZE=", "MAIL FROM:<a@b> ENVID=+", "RCPT TO:<a@b> NOTIFY=", "RCPT TO:<a@b> ORCPT=utf-8;", "").Select(Encoding.ASCII.GetBytes);
        Gen<byte[]> tails = Gen.OneOf(PathLike, ArbMap.Default.GeneratorFor<byte[]>(), Gen.Constant(Array.Empty<byte>()));
        Prop.ForAll(verbs.Zip(tails).ToArbitrary(), item =>
        {
            Step step = session.Command([.. item.Item1, .. item.Item2]);
            string wire = Encoding.Latin1.GetString(step.Reply.Wire);
            return wire.Split("\r\n").All(line => line.Length <= 510 && !line.Any(c => char.IsControl(c) || c > '~'))
                && (step.Reply.Status.Length == 0 || step.Reply.Status[0] - '0' == step.Reply.Code / 100);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(5000).WithEndSize(30));
    }
}
