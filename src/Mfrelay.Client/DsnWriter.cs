using System.Globalization;
using System.Text;
using Mfrelay.Core;
using MimeKit.Encodings;
using MimeKit.Utils;

namespace Mfrelay.Client;

/// <summary>
/// Writes bounces, delay warnings and relayed reports: multipart/report of a text for people, the delivery status for machines and the
/// message or its header (RFC 3462, 3464), or the plain form of <see cref="DsnPlainBounce"/>. No input but the arguments and the clock.
/// <para>
/// A report is 7-bit, but for the message that it returns: message/rfc822 must not be encoded, so with an 8-bit one the report is
/// declared 8BITMIME. Its header alone is encoded where it must be (RFC 3462 2).
/// </para>
/// </summary>
internal sealed class DsnWriter(DsnStyle style, TimeProvider time)
{
    /// <param name="id">The queue id of the report, which makes its Message-ID.</param>
    /// <param name="recipients">At least one; failures and delays of one message may share a report.</param>
    public DsnMail Write(QueueId id, SpooledMessage message, IReadOnlyList<DsnRecipient> recipients)
    {
        if (recipients.Count == 0)
            throw new ArgumentException("A report about nobody", nameof(recipients));
        DsnOriginal original = DsnOriginal.Of(message, style.ReturnLimit);
        DateTimeOffset now = time.GetUtcNow();
        string to = message.Envelope.ReversePath;
        DsnAction worst = recipients.Min(recipient => recipient.Action);
        bool plain = style.Format == BounceFormat.MFilter && worst == DsnAction.Failed;
        DsnBody body = plain ? PlainBody(message.Envelope.Id, original, recipients) : ReportBody(id, message, original, recipients);

        var header = new StringBuilder();
        DsnFields.Field(header, "Date", DsnFields.Date(now));
        DsnFields.Field(header, "From", $"Mail Delivery System <MAILER-DAEMON@{style.HostName}>");
        // The one line that may hold UTF-8: its reader has such an address (RFC 6532 3.2).
        header.Append(CommandWriter.IsSafe(to) && Encoding.UTF8.GetByteCount(to) < 900 ? $"To: <{to}>\r\n" : "To: undisclosed-recipients:;\r\n");
        header.Append("Subject: ").Append(SubjectOf(plain, worst)).Append("\r\n");
        DsnFields.Field(header, "Message-ID", $"<{id}.report@{style.HostName}>");
        if (original.MessageId is { } about)
        {
            DsnFields.Field(header, "In-Reply-To", about);
            DsnFields.Field(header, "References", about);
        }
        header.Append("Auto-Submitted: auto-replied\r\n"); // RFC 3834 5
        if (plain)
            header.Append("X-Mailer: ").Append(DsnPlainBounce.Mailer).Append("\r\n");
        header.Append("MIME-Version: 1.0\r\n").Append(body.Fields).Append("\r\n");

        byte[] data = [.. Encoding.UTF8.GetBytes(header.ToString()), .. body.Octets];
        return new DsnMail(EnvelopeOf(id, now, to, body.IsEightBit), data);
    }

    private Envelope EnvelopeOf(QueueId id, DateTimeOffset now, string to, bool eightBit) => new()
    {
        Id = id,
        Arrival = now,
        ReversePath = "",
        Recipients = [new Recipient(to, DsnNotify.Never)],
        Body = eightBit || !Ascii.IsValid(to) ? BodyType.EightBitMime : BodyType.SevenBit,
        SmtpUtf8 = !Ascii.IsValid(to),
        ClientAddress = "local",
        HeloName = style.HostName,
        Protocol = "local",
    };

    private string SubjectOf(bool plain, DsnAction worst) =>
        plain ? DsnPlainBounce.Subject : Encoding.ASCII.GetString(Rfc2047.EncodeText(Encoding.UTF8, new DsnWording(style.Language, style.HostName).Subject(worst)));

    private DsnBody PlainBody(QueueId about, DsnOriginal original, IReadOnlyList<DsnRecipient> recipients) =>
        TextOf(DsnPlainBounce.Text(about, original, recipients, style.Language), greppable: true);

    private DsnBody ReportBody(QueueId id, SpooledMessage message, DsnOriginal original, IReadOnlyList<DsnRecipient> recipients)
    {
        string text = new DsnWording(style.Language, style.HostName).Text(message.Envelope.Id, original, recipients);
        string status = DsnFields.DeliveryStatus(message.Envelope, recipients, style.HostName);
        DsnBody[] parts =
        [
            TextOf(text, greppable: false),
            new DsnBody("Content-Type: message/delivery-status\r\n", Encoding.ASCII.GetBytes(status), false),
            ReturnedOf(message.Envelope, original),
        ];
        string boundary = BoundaryFor(id, parts);
        var octets = new MemoryStream();
        foreach (DsnBody part in parts)
        {
            octets.Write(Encoding.ASCII.GetBytes($"--{boundary}\r\n{part.Fields}\r\n"));
            octets.Write(part.Octets);
            octets.Write("\r\n"u8);
        }
        octets.Write(Encoding.ASCII.GetBytes($"--{boundary}--\r\n"));
        bool eightBit = parts.Any(part => part.IsEightBit);
        string fields = $"Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n"
            + (eightBit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
        return new DsnBody(fields, octets.ToArray(), eightBit);
    }

    /// <summary>message/global has what message/rfc822 has, and UTF-8 in its header (RFC 6532 3.7, 6533 4).</summary>
    private static DsnBody ReturnedOf(Envelope envelope, DsnOriginal original)
    {
        byte[] octets = original.Returned;
        bool ascii = Ascii.IsValid(octets);
        bool global = envelope.SmtpUtf8 && !ascii;
        string eightBit = ascii ? "" : "Content-Transfer-Encoding: 8bit\r\n";
        if (original.IsWhole)
            return new DsnBody($"Content-Type: message/{(global ? "global" : "rfc822")}\r\n{eightBit}", octets, !ascii);
        bool sendable = DsnOriginal.IsSendable(octets);
        if (global && sendable)
            return new DsnBody($"Content-Type: message/global-headers\r\n{eightBit}", octets, true);
        return ascii && sendable
            ? new DsnBody("Content-Type: text/rfc822-headers\r\n", octets, false)
            : new DsnBody("Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n", Encoded(new QuotedPrintableEncoder(), octets), false);
    }

    /// <param name="greppable">As people's scripts want it: readable without decoding, as far as that goes.</param>
    private DsnBody TextOf(string text, bool greppable)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        if (Ascii.IsValid(utf8) && DsnOriginal.IsSendable(utf8))
            return new DsnBody("Content-Type: text/plain; charset=us-ascii\r\n", utf8, false);
        if (greppable && Iso2022(text) is { } octets && DsnOriginal.IsSendable(octets))
            return new DsnBody("Content-Type: text/plain; charset=iso-2022-jp\r\nContent-Transfer-Encoding: 7bit\r\n", octets, false);
        bool base64 = style.Language == Language.Ja && !greppable;
        byte[] encoded = Encoded(base64 ? new Base64Encoder() : new QuotedPrintableEncoder(), utf8);
        return new DsnBody($"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {(base64 ? "base64" : "quoted-printable")}\r\n", encoded, false);
    }

    /// <summary>Japanese in 7-bit text (RFC 1468); null when it has characters that ISO-2022-JP does not.</summary>
    private static byte[]? Iso2022(string text)
    {
        Encoding encoding = CodePagesEncodingProvider.Instance.GetEncoding("iso-2022-jp")!;
        byte[] octets = encoding.GetBytes(text);
        return Ascii.IsValid(octets) && encoding.GetString(octets).Equals(text, StringComparison.Ordinal) ? octets : null;
    }

    /// <summary>With CRLF line ends, the last one too.</summary>
    private static byte[] Encoded(IMimeEncoder encoder, byte[] octets)
    {
        byte[] output = new byte[encoder.EstimateOutputLength(octets.Length) + 2];
        int length = encoder.Flush(octets, 0, octets.Length, output);
        string text = Encoding.ASCII.GetString(output, 0, length).ReplaceLineEndings("\r\n");
        return Encoding.ASCII.GetBytes(text.EndsWith("\r\n", StringComparison.Ordinal) ? text : text + "\r\n");
    }

    /// <summary>One that does not stand in what it separates (RFC 2046 5.1.1).</summary>
    private static string BoundaryFor(QueueId id, DsnBody[] parts)
    {
        for (int i = 0; ; i++)
        {
            string boundary = string.Create(CultureInfo.InvariantCulture, $"=_{id}.{i}");
            byte[] octets = Encoding.ASCII.GetBytes(boundary);
            if (parts.All(part => part.Octets.AsSpan().IndexOf(octets) < 0))
                return boundary;
        }
    }

    /// <param name="Fields">Content-Type and what belongs to it, lines with CRLF.</param>
    private sealed record DsnBody(string Fields, byte[] Octets, bool IsEightBit);
}
