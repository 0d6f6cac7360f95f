using System.Buffers.Text;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Writes commands as they go over the wire, addresses exactly as stored (RFC 5321 4.1.1; parameters: RFC 1870, 6152, 6531, 3461, 3030).
/// Addresses must have passed <see cref="IsSafe"/>: nothing is escaped here.
/// </summary>
internal ref struct CommandWriter(Span<byte> buffer)
{
    private readonly Span<byte> _buffer = buffer;

    public int Written { get; private set; }

    public readonly int Room => _buffer.Length - Written;

    /// <summary>Characters of an address or a parameter: RFC 5321 4.5.3.1.3 allows 256, RFC 3461 4.2 500.</summary>
    private const int MaxArgument = 2000;

    /// <summary>No control character, which could end the command or hide in a log (RFC 5321 4.1.2 has none in any address).</summary>
    public static bool IsSafe(string? text) =>
        text is null || (text.Length <= MaxArgument && !text.AsSpan().ContainsAnyInRange('\0', '\x1f') && !text.Contains('\x7f', StringComparison.Ordinal));

    /// <summary>As <see cref="IsSafe"/>, and no space, which would begin another parameter.</summary>
    public static bool IsSafeParameter(string? text) => IsSafe(text) && text?.Contains(' ', StringComparison.Ordinal) != true;

    /// <summary>An upper bound of the octets of a RCPT command.</summary>
    public static int MaxRcpt(Recipient recipient) =>
        128 + (3 * (recipient.ForwardPath.Length + (recipient.OriginalRecipient?.Length ?? 0)));

    /// <summary>An upper bound of the octets of a MAIL command.</summary>
    public static int MaxMail(Envelope envelope) => 256 + (3 * (envelope.ReversePath.Length + (envelope.EnvelopeId?.Length ?? 0)));

    public void Text(ReadOnlySpan<byte> text)
    {
        text.CopyTo(_buffer[Written..]);
        Written += text.Length;
    }

    public void Mail(Envelope envelope, long? size, bool eightBit, bool smtpUtf8, bool dsn)
    {
        Text("MAIL FROM:<"u8);
        Text(envelope.ReversePath);
        Text(">"u8);
        if (size is { } octets)
        {
            Text(" SIZE="u8);
            Number(octets);
        }
        if (eightBit)
            Text(" BODY=8BITMIME"u8);
        if (smtpUtf8)
            Text(" SMTPUTF8"u8);
        if (dsn && envelope.Return != DsnReturn.Unspecified)
            Text(envelope.Return == DsnReturn.Full ? " RET=FULL"u8 : " RET=HDRS"u8);
        if (dsn && envelope.EnvelopeId is { } id)
        {
            Text(" ENVID="u8);
            Text(id);
        }
        Text("\r\n"u8);
    }

    public void Rcpt(Recipient recipient, bool dsn)
    {
        Text("RCPT TO:<"u8);
        Text(recipient.ForwardPath);
        Text(">"u8);
        if (dsn)
        {
            Notify(recipient.Notify);
            if (recipient.OriginalRecipient is { } original)
            {
                Text(" ORCPT="u8);
                Text(original);
            }
        }
        Text("\r\n"u8);
    }

    public void BdatLast(long size)
    {
        Text("BDAT "u8);
        Number(size);
        Text(" LAST\r\n"u8);
    }

    private void Notify(DsnNotify notify)
    {
        if (notify == DsnNotify.Unspecified)
            return;
        Text(" NOTIFY="u8);
        if (notify.HasFlag(DsnNotify.Never))
        {
            Text("NEVER"u8);
            return;
        }
        int start = Written;
        if (notify.HasFlag(DsnNotify.Success))
            Text("SUCCESS,"u8);
        if (notify.HasFlag(DsnNotify.Failure))
            Text("FAILURE,"u8);
        if (notify.HasFlag(DsnNotify.Delay))
            Text("DELAY,"u8);
        if (Written > start)
            Written--;
    }

    private void Text(string text) => Written += Encoding.UTF8.GetBytes(text, _buffer[Written..]);

    private void Number(long value)
    {
        if (!Utf8Formatter.TryFormat(value, _buffer[Written..], out int length))
            throw new InvalidOperationException("No room for a number");
        Written += length;
    }
}
