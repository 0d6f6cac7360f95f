using System.Buffers;
using System.Globalization;
using System.Text;

namespace Mfrelay.Core;

/// <summary>
/// The envelope as it stands in the spool: one "key value" line per fact, readable with strings(1).
/// <code>
/// mfrelay-envelope 1
/// id 0cd3...            arrival 1732427566123    client 192.0.2.1:40112    helo mail.example.org    protocol ESMTP
/// from a@example.org    body 1    smtputf8    ret 2    envid QQ314159
/// to b@example.com      notify 6    orcpt rfc822;b@example.com         (the last two belong to the "to" above them)
/// </code>
/// Frozen: a test pins the text. An unknown first line or key is refused, never skipped.
/// </summary>
internal static class EnvelopeText
{
    private static ReadOnlySpan<byte> FirstLine => "mfrelay-envelope 1"u8;
    private static readonly long MaxArrival = DateTimeOffset.MaxValue.ToUnixTimeMilliseconds();

    public static void Write(Envelope envelope, IBufferWriter<byte> output)
    {
        Line(output, FirstLine, "");
        Line(output, "id "u8, envelope.Id.ToString());
        Line(output, "arrival "u8, envelope.Arrival.ToUnixTimeMilliseconds());
        Line(output, "client "u8, envelope.ClientAddress);
        Line(output, "helo "u8, envelope.HeloName);
        Line(output, "protocol "u8, envelope.Protocol);
        Line(output, "from "u8, envelope.ReversePath);
        if (envelope.Body != BodyType.SevenBit)
            Line(output, "body "u8, (int)envelope.Body);
        if (envelope.SmtpUtf8)
            Line(output, "smtputf8"u8, "");
        if (envelope.Return != DsnReturn.Unspecified)
            Line(output, "ret "u8, (int)envelope.Return);
        if (envelope.EnvelopeId is not null)
            Line(output, "envid "u8, envelope.EnvelopeId);
        foreach (Recipient recipient in envelope.Recipients)
        {
            Line(output, "to "u8, recipient.ForwardPath);
            if (recipient.Notify != DsnNotify.Unspecified)
                Line(output, "notify "u8, (int)recipient.Notify);
            if (recipient.OriginalRecipient is not null)
                Line(output, "orcpt "u8, recipient.OriginalRecipient);
        }
    }

    /// <summary>Reads an envelope back; null when a line is not what <see cref="Write"/> writes.</summary>
    public static Envelope? Parse(ReadOnlySpan<byte> bytes)
    {
        var recipients = new List<Recipient>();
        QueueId id = default;
        long arrival = 0;
        string client = "", helo = "", protocol = "", from = "";
        string? envelopeId = null;
        var body = BodyType.SevenBit;
        var ret = DsnReturn.Unspecified;
        bool utf8 = false, first = true;

        while (!bytes.IsEmpty)
        {
            int end = bytes.IndexOf((byte)'\n');
            if (end < 0)
                return null;
            ReadOnlySpan<byte> line = bytes[..end];
            bytes = bytes[(end + 1)..];
            if (first)
            {
                if (!line.SequenceEqual(FirstLine))
                    return null;
                first = false;
                continue;
            }
            int space = line.IndexOf((byte)' ');
            ReadOnlySpan<byte> key = space < 0 ? line : line[..space];
            string value = space < 0 ? "" : Encoding.UTF8.GetString(line[(space + 1)..]);
            bool ok =
                key.SequenceEqual("to"u8) ? Add(recipients, value)
                : key.SequenceEqual("notify"u8) ? Notify(recipients, value)
                : key.SequenceEqual("orcpt"u8) ? OriginalRecipient(recipients, value)
                : key.SequenceEqual("id"u8) ? QueueId.TryParse(value, out id)
                : key.SequenceEqual("arrival"u8) ? long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out arrival) && arrival <= MaxArrival
                : key.SequenceEqual("client"u8) ? Set(out client, value)
                : key.SequenceEqual("helo"u8) ? Set(out helo, value)
                : key.SequenceEqual("protocol"u8) ? Set(out protocol, value)
                : key.SequenceEqual("from"u8) ? Set(out from, value)
                : key.SequenceEqual("body"u8) ? Number(value, out body)
                : key.SequenceEqual("smtputf8"u8) ? utf8 = true
                : key.SequenceEqual("ret"u8) ? Number(value, out ret)
                : key.SequenceEqual("envid"u8) && Set(out envelopeId, value);
            if (!ok)
                return null;
        }
        return first || id == default || recipients.Count == 0 ? null : new Envelope
        {
            Id = id,
            Arrival = DateTimeOffset.FromUnixTimeMilliseconds(arrival),
            ClientAddress = client,
            HeloName = helo,
            Protocol = protocol,
            ReversePath = from,
            Body = body,
            SmtpUtf8 = utf8,
            Return = ret,
            EnvelopeId = envelopeId,
            Recipients = recipients,
        };
    }

    private static bool Set<T>(out T field, T value)
    {
        field = value;
        return true;
    }

    private static bool Add(List<Recipient> recipients, string forwardPath)
    {
        recipients.Add(new Recipient(forwardPath));
        return true;
    }

    private static bool Notify(List<Recipient> recipients, string value)
    {
        if (recipients.Count == 0 || !Number(value, out DsnNotify notify))
            return false;
        recipients[^1] = recipients[^1] with { Notify = notify };
        return true;
    }

    private static bool OriginalRecipient(List<Recipient> recipients, string value)
    {
        if (recipients.Count == 0)
            return false;
        recipients[^1] = recipients[^1] with { OriginalRecipient = value };
        return true;
    }

    private static bool Number<T>(string text, out T value) where T : struct, Enum
    {
        bool ok = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number);
        value = (T)Enum.ToObject(typeof(T), number);
        return ok;
    }

    private static void Line(IBufferWriter<byte> output, ReadOnlySpan<byte> key, string value)
    {
        if (value.Contains('\n', StringComparison.Ordinal))
            throw new ArgumentException($"a line feed in \"{Encoding.UTF8.GetString(key)}\" would forge a line of the envelope", nameof(value));
        Span<byte> span = output.GetSpan(key.Length + Encoding.UTF8.GetMaxByteCount(value.Length) + 1);
        key.CopyTo(span);
        int n = key.Length;
        n += Encoding.UTF8.GetBytes(value, span[n..]);
        span[n++] = (byte)'\n';
        output.Advance(n);
    }

    private static void Line(IBufferWriter<byte> output, ReadOnlySpan<byte> key, long value)
    {
        Span<byte> span = output.GetSpan(key.Length + 21);
        key.CopyTo(span);
        int n = key.Length;
        value.TryFormat(span[n..], out int digits, provider: CultureInfo.InvariantCulture);
        span[n + digits] = (byte)'\n';
        output.Advance(n + digits + 1);
    }
}
