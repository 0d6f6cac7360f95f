using System.Globalization;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// The machine's part of a report, message/delivery-status (RFC 3464 2.1): a group of fields for the message and one for each recipient.
/// Always 7-bit; what is not ASCII is written as \x{1F600} (utf-8-addr-xtext, RFC 6533 3).
/// </summary>
internal static class DsnFields
{
    private const int FoldAt = 78;

    /// <summary>Where even a word without a blank is cut: a line has at most 998 octets (RFC 5322 2.1.1).</summary>
    private const int MaxWord = 900;

    public static string DeliveryStatus(Envelope envelope, IReadOnlyList<DsnRecipient> recipients, string hostName)
    {
        var text = new StringBuilder();
        if (envelope.EnvelopeId is { } id)
            Field(text, "Original-Envelope-Id", PlainOf(id));
        Field(text, "Reporting-MTA", $"dns; {hostName}");
        if (envelope.HeloName.Length > 0)
            Field(text, "Received-From-MTA", $"dns; {envelope.HeloName}");
        Field(text, "Arrival-Date", Date(envelope.Arrival));
        foreach (DsnRecipient recipient in recipients)
        {
            text.Append("\r\n");
            AppendRecipient(text, recipient);
        }
        return text.ToString();
    }

    /// <summary>RFC 5322 3.3, in UTC.</summary>
    public static string Date(DateTimeOffset time) => time.UtcDateTime.ToString("ddd, dd MMM yyyy HH:mm:ss '+0000'", CultureInfo.InvariantCulture);

    /// <summary>A field of a header: folded at blanks (RFC 5322 2.2.3), ASCII, without control characters.</summary>
    public static void Field(StringBuilder text, string name, string value)
    {
        text.Append(name).Append(':');
        int column = name.Length + 1;
        foreach (string word in Escape(value).Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            for (int at = 0; at < word.Length; at += MaxWord)
            {
                int length = Math.Min(MaxWord, word.Length - at);
                if (column > name.Length + 1 && column + 1 + length > FoldAt)
                {
                    text.Append("\r\n");
                    column = 0;
                }
                text.Append(' ').Append(word, at, length);
                column += 1 + length;
            }
        }
        text.Append("\r\n");
    }

    /// <summary>Undoes xtext (RFC 3461 4): "+2B" is "+". Stays as it is when it is no xtext, or hides what a field cannot have.</summary>
    public static string PlainOf(string xtext)
    {
        var plain = new StringBuilder(xtext.Length);
        for (int i = 0; i < xtext.Length; i++)
        {
            if (xtext[i] != '+')
            {
                plain.Append(xtext[i]);
                continue;
            }
            if (i + 2 >= xtext.Length || !byte.TryParse(xtext.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte octet)
                || octet is < 0x20 or > 0x7e)
                return xtext;
            plain.Append((char)octet);
            i += 2;
        }
        return plain.ToString();
    }

    private static void AppendRecipient(StringBuilder text, DsnRecipient recipient)
    {
        if (recipient.Recipient.OriginalRecipient is { } original)
            Field(text, "Original-Recipient", OriginalOf(original));
        string address = recipient.Recipient.ForwardPath;
        Field(text, "Final-Recipient", Ascii.IsValid(address) ? $"rfc822; {address}" : $"utf-8; {address}");
        Field(text, "Action", recipient.Action switch
        {
            DsnAction.Failed => "failed",
            DsnAction.Delayed => "delayed",
            DsnAction.Relayed => "relayed",
        });
        Field(text, "Status", recipient.Status.ToString());
        // Only an MTA that has said something is "the one that determined the status" (RFC 3464 2.3.5).
        if (recipient is { Server: { } server, Outcome.Reply: not null })
            Field(text, "Remote-MTA", $"dns; {server.Host}");
        if (recipient.Outcome.Reply is { } reply)
            Field(text, "Diagnostic-Code", $"smtp; {reply}");
        else if (!recipient.Outcome.IsOpen)
            Field(text, "Diagnostic-Code", $"X-mfrelay; {recipient.Outcome}");
        if (recipient.LastAttempt != default)
            Field(text, "Last-Attempt-Date", Date(recipient.LastAttempt));
        if (recipient.Action == DsnAction.Delayed && recipient.WillRetryUntil is { } until)
            Field(text, "Will-Retry-Until", Date(until));
    }

    /// <summary>ORCPT without its encoding; an address of type utf-8 has one of its own, which stays (RFC 6533 3).</summary>
    private static string OriginalOf(string original)
    {
        int semicolon = original.IndexOf(';', StringComparison.Ordinal);
        return semicolon <= 0 ? $"unknown; {original}"
            : original.StartsWith("utf-8;", StringComparison.OrdinalIgnoreCase) ? $"utf-8; {original[6..]}"
            : $"{original[..semicolon]}; {PlainOf(original[(semicolon + 1)..])}";
    }

    private static string Escape(string value)
    {
        if (Ascii.IsValid(value) && !value.Any(char.IsControl))
            return value;
        var text = new StringBuilder(value.Length * 2);
        foreach (Rune rune in value.EnumerateRunes())
        {
            if (Rune.IsControl(rune))
                text.Append('?');
            else if (rune.IsAscii)
                text.Append((char)rune.Value);
            else
                text.Append(CultureInfo.InvariantCulture, $"\\x{{{rune.Value:X4}}}");
        }
        return text.ToString();
    }
}
