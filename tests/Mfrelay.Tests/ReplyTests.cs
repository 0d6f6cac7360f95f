using System.Text;
using Mfrelay.Client;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ReplyTests
{
    [Theory]
    [InlineData("250 2.1.5 Ok\r\n", 250, "2.1.5", "Ok")]
    [InlineData("250 Ok\r\n", 250, null, "Ok")]
    [InlineData("250\r\n", 250, null, "")]
    [InlineData("250 \n", 250, null, "")]
    [InlineData("550 5.1.1\r\n", 550, "5.1.1", "")]
    [InlineData("550 4.1.1 class of another code\r\n", 550, null, "4.1.1 class of another code")]
    [InlineData("550 5.1234.1 x\r\n", 550, null, "5.1234.1 x")]
    [InlineData("550 5.7.133 x\r\n", 550, "5.7.133", "x")]
    [InlineData("550 5.1 x\r\n", 550, null, "5.1 x")]
    [InlineData("550-5.7.1 first\r\n550-5.7.1 second\r\n550 5.7.1 third\r\n", 550, "5.7.1", "first second third")]
    [InlineData("550-first\r\n550\r\n", 550, null, "first")]
    [InlineData("550 a\u001b[2Jb\u0000\r\n", 550, null, "a?[2Jb?")]
    [InlineData("550 5.1.1 宛先不明\r\n", 550, "5.1.1", "宛先不明")]
    public void A_reply_is_read_alike_whole_and_octet_by_octet(string wire, int code, string? status, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(wire);
        for (int step = 1; step <= bytes.Length; step++)
        {
            using var reader = new ReplyReader();
            ReplyParse parse = ReplyParse.NeedMore;
            ReadOnlySpan<byte> raw = default;
            for (int at = 0; at < bytes.Length; at += step)
            {
                Assert.Equal(ReplyParse.NeedMore, parse);
                ReadOnlySpan<byte> piece = bytes.AsSpan(at, Math.Min(step, bytes.Length - at));
                piece.CopyTo(reader.Free.Span);
                reader.Received(piece.Length);
                parse = reader.TryTake(out raw);
            }
            Assert.Equal(ReplyParse.Complete, parse);
            Assert.Equal(code, ReplyReader.CodeOf(raw));
            var reply = Reply.Decode(raw);
            Assert.Equal((code, status, text), (reply.Code, reply.Status?.ToString(), reply.Text));
            Assert.Equal(0, reader.Buffered);
        }
    }

    [Theory]
    [InlineData("H")]
    [InlineData("150 ok")]
    [InlineData("650")]
    [InlineData("2x")]
    [InlineData("2500")]
    [InlineData("250-ok\r\nHTTP")]
    [InlineData("\r\n")]
    public void Garbage_is_known_before_the_line_ends(string wire)
    {
        using var reader = new ReplyReader();
        Assert.Equal(ReplyParse.Garbage, Feed(reader, wire));
    }

    [Fact]
    public void Pipelined_replies_are_taken_one_by_one()
    {
        using var reader = new ReplyReader();
        Assert.Equal(ReplyParse.Complete, Feed(reader, "250 a\r\n550-b\r\n550 c\r\n35"));
        Assert.Equal(ReplyParse.Complete, reader.TryTake(out ReadOnlySpan<byte> second));
        Assert.Equal("550-b\r\n550 c\r\n", Encoding.ASCII.GetString(second));
        Assert.Equal(ReplyParse.NeedMore, reader.TryTake(out _));
        Assert.Equal(ReplyParse.Complete, Feed(reader, "4 go\r\n"));
    }

    [Theory]
    [InlineData(ReplyReader.MaxReply, ReplyParse.Complete)]
    [InlineData(ReplyReader.MaxReply + 1, ReplyParse.TooLong)]
    public void A_reply_has_at_most_64_KiB(int octets, object expected)
    {
        using var reader = new ReplyReader();
        Assert.Equal((ReplyParse)expected, Feed(reader, $"250 {new string('x', octets - 6)}\r\n"));
    }

    [Fact]
    public void Many_lines_and_a_reply_before_them_do_not_move_the_limit()
    {
        using var reader = new ReplyReader();
        Feed(reader, "250 first\r\n250-");
        ReplyParse parse = ReplyParse.NeedMore;
        int lines = 0;
        while (parse == ReplyParse.NeedMore)
        {
            parse = Feed(reader, "line of text\r\n250-");
            lines++;
        }
        Assert.Equal(ReplyParse.TooLong, parse);
        Assert.InRange(lines * 18, ReplyReader.MaxReply - 20, ReplyReader.MaxReply + 20);
    }

    [Fact]
    public void The_text_that_is_kept_is_bounded()
    {
        var reply = Reply.Decode(Encoding.UTF8.GetBytes($"550-{new string('あ', 5000)}\r\n550 more\r\n"));
        Assert.Equal(Reply.MaxText, reply.Text.Length);
    }

    private static ReplyParse Feed(ReplyReader reader, string text)
    {
        byte[] bytes = Encoding.ASCII.GetBytes(text);
        ReplyParse parse = ReplyParse.NeedMore;
        for (int at = 0; at < bytes.Length && parse == ReplyParse.NeedMore;)
        {
            Span<byte> room = reader.Free.Span;
            int count = Math.Min(room.Length, bytes.Length - at);
            bytes.AsSpan(at, count).CopyTo(room);
            reader.Received(count);
            at += count;
            parse = reader.TryTake(out _);
        }
        return parse;
    }
}
