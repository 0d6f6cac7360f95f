using System.Globalization;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// The one thing that the relay adds to mail data (RFC 5321 4.4):
/// <code>
/// Received: from HELO ([client-address])
///         by HOST (mfrelay) with ESMTP id QUEUE-ID
///         for &lt;forward-path&gt;; date                        the for clause only where there is one recipient, and it is ASCII
/// </code>
/// </summary>
internal static class TraceHeader
{
    public static int Write(Span<byte> to, string helo, string client, string host, string protocol, QueueId id, IReadOnlyList<Recipient> recipients, DateTimeOffset date)
    {
        // In pieces, so that no text is made that is thrown away at once.
        (string open, string @for, string close) = recipients.Count == 1 && Ascii.IsValid(recipients[0].ForwardPath)
            ? ("\r\n\tfor <", recipients[0].ForwardPath, ">") : ("", "", "");
        string family = client.Contains(':', StringComparison.Ordinal) ? "IPv6:" : "";
        TimeSpan zone = date.Offset;
        System.Text.Unicode.Utf8.TryWrite(to, CultureInfo.InvariantCulture,
            $"Received: from {helo} ([{family}{client}])\r\n\tby {host} (mfrelay) with {protocol} id {id}{open}{@for}{close};\r\n\t"
            + $"{date:ddd, d MMM yyyy HH:mm:ss} {(zone < TimeSpan.Zero ? "-" : "+")}{zone:hhmm}\r\n",
            out int written);
        return written;
    }

    /// <summary>Octets that are always enough.</summary>
    public const int MaxLength = 2048;
}
