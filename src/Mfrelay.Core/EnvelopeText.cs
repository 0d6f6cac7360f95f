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
    private const string FirstLine = "mfrelay-envelope 1";
    private static readonly long MaxArrival = DateTimeOffset.MaxValue.ToUnixTimeMilliseconds();

    public static void Write(Envelope envelope, IBufferWriter<byte> output)
    {
        Line(output, FirstLine, "");
        Line(output, "id ", envelope.Id.ToString());
        Line(output, "arrival ", envelope.Arrival.ToUnixTimeMilliseconds());
        Line(output, "client ", envelope.ClientAddress);
        Line(output, "helo ", envelope.HeloName);
        Line(output, "protocol ", envelope.Protocol);
        Line(output, "from ", envelope.ReversePath);
        if (envelope.Body != BodyType.SevenBit)
            Line(output, "body ", (int)envelope.Body);
        if (envelope.SmtpUtf8)
            Line(output, "smtputf8", "");
        if (envelope.Return != DsnReturn.Unspecified)
            Line(output, "ret ", (int)envelope.Return);
        if (envelope.EnvelopeId is not null)
            Line(output, "envid ", envelope.EnvelopeId);
        foreach (Recipient recipient in envelope.Recipients)
        {
            Line(output, "to ", recipient.ForwardPath);
            if (recipient.Notify != DsnNotify.Unspecified)
                Line(output, "notify ", (int)recipient.Notify);
            if (recipient.OriginalRecipient is not null)
                Line(output, "orcpt ", recipient.OriginalRecipient);
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
            string line = Encoding.UTF8.GetString(bytes[..end]);
            bytes = bytes[(end + 1)..];
            if (first)
            {
                if (!string.Equals(line, FirstLine, StringComparison.Ordinal))
                    return null;
                first = false;
                continue;
            }
            int space = line.IndexOf(' ', StringComparison.Ordinal);
            string key = space < 0 ? line : line[..space];
            string value = space < 0 ? "" : line[(space + 1)..];
            bool ok = key switch
            {
                "id" => QueueId.TryParse(value, out id),
                "arrival" => long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out arrival) && arrival <= MaxArrival,
                "client" => Set(out client, value),
                "helo" => Set(out helo, value),
                "protocol" => Set(out protocol, value),
                "from" => Set(out from, value),
                "body" => Number(value, out body),
                "smtputf8" => utf8 = true,
                "ret" => Number(value, out ret),
                "envid" => Set(out envelopeId, value),
                "to" => Add(recipients, value),
                "notify" => recipients.Count > 0 && Number(value, out DsnNotify notify) && Amend(recipients, r => r with { Notify = notify }),
                "orcpt" => recipients.Count > 0 && Amend(recipients, r => r with { OriginalRecipient = value }),
                _ => false,
            };
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

    private static bool Amend(List<Recipient> recipients, Func<Recipient, Recipient> change)
    {
        recipients[^1] = change(recipients[^1]);
        return true;
    }

    private static bool Number<T>(string text, out T value) where T : struct, Enum
    {
        bool ok = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number);
        value = (T)Enum.ToObject(typeof(T), number);
        return ok;
    }

    private static void Line(IBufferWriter<byte> output, string key, string value)
    {
        if (value.Contains('\n', StringComparison.Ordinal))
            throw new ArgumentException($"a line feed in \"{key}\" would forge a line of the envelope", nameof(value));
        Span<byte> span = output.GetSpan(key.Length + Encoding.UTF8.GetMaxByteCount(value.Length) + 1);
        int n = Encoding.UTF8.GetBytes(key, span);
        n += Encoding.UTF8.GetBytes(value, span[n..]);
        span[n++] = (byte)'\n';
        output.Advance(n);
    }

    private static void Line(IBufferWriter<byte> output, string key, long value)
    {
        Span<byte> span = output.GetSpan(key.Length + 21);
        int n = Encoding.UTF8.GetBytes(key, span);
        value.TryFormat(span[n..], out int digits, provider: CultureInfo.InvariantCulture);
        span[n + digits] = (byte)'\n';
        output.Advance(n + digits + 1);
    }
}
