using System.Buffers;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class EnvelopeTextTests
{
    private static readonly Envelope Full = State.EnvelopeOf(new QueueId(1L << 55)) with
    {
        Body = BodyType.EightBitMime,
        SmtpUtf8 = true,
        Return = DsnReturn.Headers,
        EnvelopeId = "QQ314159",
        Recipients =
        [
            new Recipient("b@example.com", DsnNotify.Success | DsnNotify.Failure, "rfc822;b@example.com"),
            new Recipient("\"a b\"@例え.jp"),
        ],
    };

    private const string FullText =
        "mfrelay-envelope 1\nid 0100000000000\narrival 1732427566123\nclient 192.0.2.9:40112\nhelo mail.example.org\nprotocol ESMTP\n"
        + "from a@example.org\nbody 1\nsmtputf8\nret 2\nenvid QQ314159\nto b@example.com\nnotify 6\norcpt rfc822;b@example.com\n"
        + "to \"a b\"@例え.jp\n";

    [Fact]
    public void An_arrival_beyond_the_calendar_is_damage_and_no_exception() =>
        Assert.Null(EnvelopeText.Parse(Encoding.UTF8.GetBytes(FullText.Replace("1732427566123", "9223372036854775807", StringComparison.Ordinal))));

    private const string PlainText =
        "mfrelay-envelope 1\nid 0100000000000\narrival 1732427566123\nclient 192.0.2.9:40112\nhelo mail.example.org\nprotocol ESMTP\n"
        + "from \nto b@example.com\n";

    [Fact]
    public void The_text_is_frozen()
    {
        Assert.Equal(FullText, Write(Full));
        Assert.Equal(PlainText, Write(State.EnvelopeOf(new QueueId(1L << 55)) with { ReversePath = "" }));
    }

    [Fact]
    public void What_was_written_reads_back()
    {
        Gen<string> text = Gen.Elements("a", "@", " ", ".", "\r", "\"", "\0", "é", "日", "to", ";").ListOf().Select(string.Concat);
        Prop.ForAll(text.Zip(text).Zip(text).ToArbitrary(), item =>
        {
            ((string a, string b), string c) = item;
            Envelope envelope = Full with { ReversePath = a, HeloName = b, EnvelopeId = c, Recipients = [new(b, DsnNotify.Never, c), new(a)] };
            Envelope back = Parse(Write(envelope))!;
            return back with { Recipients = envelope.Recipients } == envelope && back.Recipients.SequenceEqual(envelope.Recipients);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void A_text_cut_short_or_with_an_unknown_line_is_refused()
    {
        string text = Write(Full);
        int firstRecipient = text.IndexOf("to ", StringComparison.Ordinal);
        for (int length = 0; length < text.Length; length++)
        {
            // A cut behind a whole recipient is an envelope; the checksum in the record's head tells that one.
            if (length <= firstRecipient || text[length - 1] != '\n')
                Assert.Null(Parse(text[..length]));
        }
        Assert.Null(Parse(text + "priority 1\n"));
        Assert.Null(Parse(text.Replace("envelope 1", "envelope 2", StringComparison.Ordinal)));
        Assert.Null(Parse(text.Replace("body 1", "body x", StringComparison.Ordinal)));
        Assert.Null(Parse(text.Replace("to b@example.com\n", "", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_line_feed_in_a_value_cannot_forge_a_line() =>
        Assert.Throws<ArgumentException>(() => Write(Full with { HeloName = "x\nto victim@example.com" }));

    private static string Write(Envelope envelope)
    {
        var output = new ArrayBufferWriter<byte>();
        EnvelopeText.Write(envelope, output);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }

    private static Envelope? Parse(string text) => EnvelopeText.Parse(Encoding.UTF8.GetBytes(text));
}
