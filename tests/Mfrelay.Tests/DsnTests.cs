using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Client;
using Mfrelay.Core;
using MimeKit;
using Xunit;
using Outcome = Mfrelay.Client.Outcome;

namespace Mfrelay.Tests;

public sealed class DsnTests
{
    private const string Mail = "Message-ID: <one@a.example>\r\nFrom: s@a.example\r\nTo: r@b.example\r\nSubject: =?UTF-8?B?5pel5pys?=\r\n"
        + "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nhello\r\n--x\r\n.\r\n";

    private static readonly DateTimeOffset Noon = new(2024, 1, 2, 12, 0, 0, TimeSpan.Zero);
    private static readonly DsnStyle English = new("relay.example", Language.En, BounceFormat.Rfc3464, 50_000);
    private static readonly Reply NoUser = new(550, new EnhancedStatus(5, 1, 1), "no such user <r@b.example>");

    [Theory]
    [InlineData(DsnNotify.Unspecified, "failed delayed")]
    [InlineData(DsnNotify.Never, "")]
    [InlineData(DsnNotify.Never | DsnNotify.Failure, "")]
    [InlineData(DsnNotify.Failure, "failed")]
    [InlineData(DsnNotify.Delay, "delayed")]
    [InlineData(DsnNotify.Success, "relayed")]
    [InlineData(DsnNotify.Success | DsnNotify.Failure | DsnNotify.Delay, "failed delayed relayed")]
    public void NOTIFY_decides_what_the_sender_hears(DsnNotify notify, string expected)
    {
        var recipient = new Recipient("r@b.example", notify);
        Envelope envelope = Sending.Envelope("r@b.example");
        Assert.Equal(expected, string.Join(' ', Enum.GetValues<DsnAction>()
            .Where(action => DsnPolicy.Wants(envelope, recipient, action)).Select(action => action.ToString().ToLowerInvariant())));
        Assert.DoesNotContain(Enum.GetValues<DsnAction>(), action => DsnPolicy.Wants(envelope with { ReversePath = "" }, recipient, action));
        Assert.False(DsnPolicy.Wants(envelope, recipient, DsnAction.Relayed, passedOn: true));
    }

    [Fact]
    public void A_bounce_has_the_three_parts_of_RFC_3464()
    {
        Envelope envelope = Sending.Envelope("r@b.example") with { EnvelopeId = "QQ+2B31", Return = DsnReturn.Full };
        DsnMail bounce = Write(English, envelope, Mail, Failed(new("r@b.example", OriginalRecipient: "rfc822;first+2Blast@b.example")));

        Assert.Equal("", bounce.Envelope.ReversePath);
        Assert.Equal([new Recipient("s@a.example", DsnNotify.Never)], bounce.Envelope.Recipients);
        Assert.Equal(BodyType.SevenBit, bounce.Envelope.Body);
        MimeMessage parsed = Parse(bounce);
        Assert.Equal("MAILER-DAEMON@relay.example", parsed.From.Mailboxes.Single().Address);
        Assert.Equal("s@a.example", parsed.To.Mailboxes.Single().Address);
        Assert.Equal("auto-replied", parsed.Headers["Auto-Submitted"]);
        Assert.Equal(("one@a.example", "one@a.example"), (parsed.InReplyTo, parsed.References.Single()));
        Assert.Equal(Noon, parsed.Date);
        MultipartReport report = Assert.IsType<MultipartReport>(parsed.Body);
        Assert.Equal("delivery-status", report.ReportType);
        Assert.Contains("Answer: 550 5.1.1 no such user", Assert.IsType<TextPart>(report[0]).Text, StringComparison.Ordinal);
        Assert.Equal("""
            Original-Envelope-Id: QQ+31
            Reporting-MTA: dns; relay.example
            Received-From-MTA: dns; client.example
            Arrival-Date: Thu, 01 Jan 1970 00:00:00 +0000

            Original-Recipient: rfc822; first+last@b.example
            Final-Recipient: rfc822; r@b.example
            Action: failed
            Status: 5.1.1
            Remote-MTA: dns; mx.b.example
            Diagnostic-Code: smtp; 550 5.1.1 no such user <r@b.example>
            Last-Attempt-Date: Tue, 02 Jan 2024 12:00:00 +0000

            """.ReplaceLineEndings("\n"), ContentOf(bounce, "message/delivery-status"));
        Assert.Equal(Mail.ReplaceLineEndings("\n"), ContentOf(bounce, "message/rfc822"));
    }

    [Theory]
    [InlineData(Language.Ja, "次の宛先にメールを配送できませんでした。")]
    [InlineData(Language.En, "could not be delivered")]
    public void People_read_it_in_their_language(Language language, string expected)
    {
        MimeMessage parsed = Parse(Write(English with { Language = language }, Sending.Envelope("r@b.example"), Mail, Failed(new("r@b.example"))));
        Assert.Contains(expected, ((TextPart)((Multipart)parsed.Body!)[0]).Text, StringComparison.Ordinal);
        Assert.Equal(language == Language.Ja ? "メールを配送できませんでした" : "Undelivered Mail Returned to Sender", parsed.Subject);
    }

    [Fact]
    public void A_warning_says_until_when_it_is_tried()
    {
        var delayed = new DsnRecipient(new("r@b.example"), DsnAction.Delayed, new(4, 4, 1), Outcome.Of(Stage.Connect, Failure.TimedOut),
            Server, Noon, Noon.AddDays(5));
        string status = ContentOf(Write(English, Sending.Envelope("r@b.example"), Mail, delayed), "message/delivery-status");
        Assert.Contains("Action: delayed\nStatus: 4.4.1\nDiagnostic-Code: X-mfrelay; connect: timed out\n", status, StringComparison.Ordinal);
        Assert.Contains("Will-Retry-Until: Sun, 07 Jan 2024 12:00:00 +0000\n", status, StringComparison.Ordinal);
        Assert.DoesNotContain("Remote-MTA", status, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(DsnReturn.Full, 100, false, "text/plain message/rfc822", "7")]
    [InlineData(DsnReturn.Unspecified, 100, false, "text/plain message/rfc822", "7")]
    [InlineData(DsnReturn.Headers, 100, false, "text/plain text/rfc822-headers", "7")]
    [InlineData(DsnReturn.Full, 60_000, false, "text/plain text/rfc822-headers", "7")]
    [InlineData(DsnReturn.Full, 100, true, "text/plain message/global", "8")]
    [InlineData(DsnReturn.Headers, 100, true, "text/plain message/global-headers", "8")]
    public void The_original_comes_back_whole_or_as_its_header(DsnReturn ret, int size, bool utf8, string types, string bits)
    {
        Envelope envelope = Sending.Envelope("r@b.example") with { Return = ret, SmtpUtf8 = utf8 };
        string mail = $"Subject: {(utf8 ? "日本" : "x")}\r\n\r\n{string.Concat(Enumerable.Repeat("0123456789\r\n", size / 12))}";
        DsnMail bounce = Write(English, envelope, mail, Failed(new("r@b.example")));
        var report = (Multipart)Parse(bounce).Body!;
        Assert.Equal(types, $"{report[0].ContentType.MimeType} {report[2].ContentType.MimeType}");
        Assert.Equal(bits == "8" ? BodyType.EightBitMime : BodyType.SevenBit, bounce.Envelope.Body);
        Assert.Equal(bits == "8", !Ascii.IsValid(bounce.Data));
        Assert.False(bounce.Envelope.SmtpUtf8);
    }

    [Fact]
    public void Eight_bit_mail_comes_back_as_it_is_and_is_declared()
    {
        const string mail = "Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n日本語\r\n";
        DsnMail bounce = Write(English, Sending.Envelope("r@b.example"), mail, Failed(new("r@b.example")));
        Assert.Equal(BodyType.EightBitMime, bounce.Envelope.Body);
        Assert.Contains("Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n" + mail.ReplaceLineEndings("\n"), TextOf(bounce), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Subject: x\r\n\r\nbare\nfeed\r\n")]
    [InlineData("Subject: x\r\n\r\nnul\0\r\n")]
    [InlineData("Subject: 日本\n\r\n\r\nx\r\n")]
    [InlineData("\r\nno header\nbare\r\n")]
    [InlineData("x\r\n")]
    public void Mail_that_cannot_stand_in_a_mail_comes_back_as_its_header(string mail) =>
        WellFormed(Write(English, Sending.Envelope("r@b.example"), mail, Failed(new("r@b.example"))));

    [Fact]
    public void Addresses_with_UTF_8_go_into_the_status_as_ASCII()
    {
        Envelope envelope = Sending.Envelope("日@b.example") with { ReversePath = "送@a.example", SmtpUtf8 = true };
        DsnMail bounce = Write(English, envelope, Mail, Failed(new("日@b.example", OriginalRecipient: "utf-8;\\x{65E5}@b.example")));
        Assert.True(bounce.Envelope.SmtpUtf8);
        string status = ContentOf(bounce, "message/delivery-status");
        Assert.Contains("Original-Recipient: utf-8; \\x{65E5}@b.example\nFinal-Recipient: utf-8; \\x{65E5}@b.example\n", status, StringComparison.Ordinal);
        WellFormed(bounce);
    }

    [Theory]
    [InlineData("a+2Bb", "a+b")]
    [InlineData("a+3D", "a=")]
    [InlineData("a+2", "a+2")]
    [InlineData("a+0D+0Ab", "a+0D+0Ab")]
    [InlineData("a+zz", "a+zz")]
    public void Xtext_is_undone_where_a_field_can_hold_it(string xtext, string plain) => Assert.Equal(plain, DsnFields.PlainOf(xtext));

    [Theory]
    [InlineData(Language.Ja, "iso-2022-jp")]
    [InlineData(Language.En, "us-ascii")]
    public void The_plain_form_has_its_three_blocks_readable_as_they_are(Language language, string charset)
    {
        DsnStyle style = English with { Format = BounceFormat.MFilter, Language = language };
        DsnMail bounce = Write(style, Sending.Envelope("r@b.example"), Mail, Failed(new("r@b.example")));
        MimeMessage parsed = Parse(bounce);
        Assert.Equal("failure notice", parsed.Subject);
        Assert.Equal("m-FILTER", parsed.Headers["X-Mailer"]);
        Assert.Equal(charset, parsed.Body!.ContentType.Charset);
        Assert.Contains($"""

            r@b.example

            -------server message
            550 5.1.1 no such user <r@b.example>

            -------SMTP command
            RCPT

            -------original mail info
            From: s@a.example
            To: r@b.example
            Subject: =?UTF-8?B?5pel5pys?=
            Date: Mon, 1 Jan 2024 00:00:00 +0000
            Message-ID: <one@a.example>
            Queue-ID: {new QueueId(1)}

            """.ReplaceLineEndings("\n"), TextOf(bounce), StringComparison.Ordinal);
        WellFormed(bounce);
    }

    [Fact]
    public void A_warning_is_never_in_the_plain_form_which_counts_as_a_failure()
    {
        DsnMail mail = Write(English with { Format = BounceFormat.MFilter }, Sending.Envelope("r@b.example"), Mail,
            Failed(new("r@b.example")) with { Action = DsnAction.Delayed, Status = new(4, 0, 0) });
        Assert.IsType<MultipartReport>(Parse(mail).Body);
    }

    [Fact]
    public void Whatever_comes_the_report_is_a_well_formed_mail()
    {
        Gen<string> text = Gen.Elements("a", " ", "日", "\r", "\n", "\r\n", "\r\n\r\n", "\0", "=", "-", ".", ":", "Subject: ", "Message-ID: <", ">", "\u0085",
            new string('x', 1100), "--=_").ArrayOf().Select(string.Concat);
        Gen<string> reply = Gen.Elements("a", " ", "日", "<", ">", "5.1.1 ", new string('y', 1024)).ArrayOf().Select(string.Concat);
        var cases = from mail in text
                    from said in reply
                    from format in Gen.Elements(BounceFormat.Rfc3464, BounceFormat.MFilter)
                    from language in Gen.Elements(Language.Ja, Language.En)
                    from utf8 in Gen.Elements(true, false)
                    from limit in Gen.Elements(0, 50_000)
                    select (mail, said, style: new DsnStyle("relay.example", language, format, limit), utf8);
        Prop.ForAll(cases.ToArbitrary(), item =>
        {
            Envelope envelope = Sending.Envelope("r@b.example") with { SmtpUtf8 = item.utf8, EnvelopeId = item.said.Replace(' ', '+'), HeloName = item.said };
            DsnRecipient failed = Failed(new("r@b.example")) with { Outcome = Outcome.Of(Stage.Rcpt, new Reply(550, null, item.said)) };
            WellFormed(Write(item.style, envelope, item.mail, failed, failed));
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));
    }

    /// <summary>For tests/foreign/dsn.py, whose parsers read them.</summary>
    [Fact]
    public void Samples_for_foreign_parsers()
    {
        string? folder = Environment.GetEnvironmentVariable("MFRELAY_DSN_SAMPLES");
        Assert.SkipWhen(folder is null, "MFRELAY_DSN_SAMPLES names no directory");
        foreach (Language language in Enum.GetValues<Language>())
        {
            DsnStyle style = English with { Language = language };
            Envelope one = Sending.Envelope("r@b.example"), utf8 = one with { SmtpUtf8 = true };
            DsnRecipient failed = Failed(new("r@b.example")), other = Failed(new("q@b.example"));
            DsnRecipient delayed = failed with { Action = DsnAction.Delayed, Status = new(4, 2, 0), WillRetryUntil = Noon.AddDays(1) };
            Save("failed", Write(style, one, Mail, failed));
            Save("two", Write(style, one, Mail, failed, other));
            Save("headers", Write(style, one with { Return = DsnReturn.Headers }, Mail, failed));
            Save("delayed", Write(style, one, Mail, delayed));
            Save("relayed", Write(style, one, Mail, failed with { Action = DsnAction.Relayed, Status = new(2, 0, 0) }));
            Save("eightbit", Write(style, one, "Subject: x\r\n\r\n日本語\r\n", failed));
            Save("global", Write(style, utf8, "Subject: 日本\r\n\r\n日本語\r\n", failed));
            Save("mfilter", Write(style with { Format = BounceFormat.MFilter }, one, Mail, failed));
            void Save(string name, DsnMail mail) => File.WriteAllBytes(Path.Combine(folder, $"{name}-{language.ToString().ToLowerInvariant()}.eml"), mail.Data);
        }
    }

    private static MailServer Server { get; } = new() { Domain = "b.example", Host = "mx.b.example", Port = 2525 };

    private static DsnRecipient Failed(Recipient recipient) =>
        new(recipient, DsnAction.Failed, new(5, 1, 1), Outcome.Of(Stage.Rcpt, NoUser), Server, Noon);

    private static DsnMail Write(DsnStyle style, Envelope envelope, string mail, params DsnRecipient[] recipients)
    {
        using SpooledMessage message = Sending.Message(envelope, mail);
        return new DsnWriter(style, new VirtualTime(Noon)).Write(new QueueId(2), message, recipients);
    }

    private static MimeMessage Parse(DsnMail mail)
    {
        WellFormed(mail);
        using var stream = new MemoryStream(mail.Data);
        return MimeMessage.Load(stream);
    }

    private static string TextOf(DsnMail mail) => Encoding.UTF8.GetString(mail.Data).ReplaceLineEndings("\n");

    /// <summary>The octets between the empty line of a part and the next boundary.</summary>
    private static string ContentOf(DsnMail mail, string type)
    {
        string text = TextOf(mail);
        string boundary = "\n--=_" + new QueueId(2);
        string part = text.Split(boundary).Single(part => part.Contains($"Content-Type: {type}\n", StringComparison.Ordinal));
        return part[(part.IndexOf("\n\n", StringComparison.Ordinal) + 2)..];
    }

    private static void WellFormed(DsnMail mail)
    {
        Assert.True(DsnOriginal.IsSendable(mail.Data), TextOf(mail));
        Assert.True(Ascii.IsValid(mail.Data) || mail.Envelope.Body == BodyType.EightBitMime);
    }
}
