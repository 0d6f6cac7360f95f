using System.Globalization;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// MAIL and RCPT with their parameters:
/// <code>
/// "MAIL FROM:" reverse-path *( SP keyword [ "=" value ] )     SIZE (1870) BODY (6152) SMTPUTF8 (6531) RET ENVID (3461 4.3, 4.4) AUTH (4954 5)
/// "RCPT TO:" forward-path *( SP keyword [ "=" value ] )       NOTIFY ORCPT (3461 4.1, 4.2)
/// </code>
/// </summary>
internal sealed partial class SmtpSession
{
    private const int MaxEnvelopeId = 100;
    private const int MaxOriginalRecipient = 500;

    private Step Mail(ReadOnlySpan<byte> argument)
    {
        if (!TakePath(ref argument, "FROM:"u8, out PathKind kind, out ReadOnlySpan<byte> address, out bool syntax))
            return new Step(syntax ? Replies.BadMail : Replies.BadSender);
        if (kind == PathKind.LocalOnly)
            return new Step(Replies.BadSender);

        var parameters = new MailParameters();
        if (ParseMailParameters(argument, Policy.OffersAuth, ref parameters) is { } bad)
            return new Step(bad);
        if (Decode(address, parameters.SmtpUtf8, out string reversePath) is { } badAddress)
            return new Step(badAddress);
        LastAddress = reversePath;
        if (parameters.Size > Limits.MaxMessageSize)
            return new Step(Replies.TooLarge);
        if (Admission.ForClient(Peer, out bool isStranger) is { } refusal)
            return new Step(refusal);
        if (Admission.ForSender(reversePath) is { } senderDown)
            return NotNow(senderDown);
        if (HasRoom?.Invoke(parameters.Size) == false)
            return new Step(Replies.LittleRoom);
        if (MayBegin?.Invoke() == false)
            return new Step(Replies.TooManyMessages);
        Transaction = new MailTransaction
        {
            DeclaredSize = parameters.Size,
            ReversePath = reversePath,
            IsOfStranger = isStranger,
            Body = parameters.Body ?? BodyType.SevenBit,
            SmtpUtf8 = parameters.SmtpUtf8,
            Return = parameters.Return,
            EnvelopeId = parameters.EnvelopeId,
        };
        return new Step(Replies.SenderOk);
    }

    private Step Rcpt(ReadOnlySpan<byte> argument)
    {
        if (!TakePath(ref argument, "TO:"u8, out PathKind kind, out ReadOnlySpan<byte> address, out bool syntax))
            return new Step(syntax ? Replies.BadRcpt : Replies.BadRecipient);
        // RFC 5321 4.5.1: postmaster is the one local part that stands alone.
        if (kind == PathKind.Null)
            return new Step(Replies.NeedsAddress);
        if (kind == PathKind.LocalOnly && !Ascii.EqualsIgnoreCase(address, "postmaster"u8))
            return new Step(Replies.BadRecipient);

        MailTransaction transaction = Transaction!;
        if (ParseRcptParameters(argument, transaction.SmtpUtf8, out DsnNotify notify, out string? originalRecipient) is { } bad)
            return new Step(bad);
        if (Decode(address, transaction.SmtpUtf8, out string forwardPath) is { } badAddress)
            return new Step(badAddress);
        LastAddress = forwardPath;
        if (transaction.Recipients.Count >= Limits.MaxRecipients)
            return new Step(Replies.TooManyRecipients);
        if (transaction.IsOfStranger && Admission.ForStranger(forwardPath) is { } noRelay)
            return new Step(noRelay);
        if (Admission.ForRecipient(forwardPath, transaction.DeclaredSize, out long sizeLimit) is { } refusal)
            return NotNow(refusal);
        transaction.SizeLimit = Math.Min(transaction.SizeLimit, sizeLimit);
        transaction.Recipients.Add(new Recipient(forwardPath, notify, originalRecipient));
        return new Step(Replies.RecipientOk);
    }

    /// <summary>The session stays open for recipients of other domains, unless the operator wants it closed.</summary>
    private Step NotNow(Reply refusal) => new(refusal, refusal.Code == 421 && Limits.CloseAfter421 ? Next.Close : Next.Command);

    /// <summary>Takes keyword and path off the argument. False: <paramref name="syntax"/> tells whether the command or the address is bad.</summary>
    private static bool TakePath(ref ReadOnlySpan<byte> argument, ReadOnlySpan<byte> keyword, out PathKind kind, out ReadOnlySpan<byte> address, out bool syntax)
    {
        kind = PathKind.Bad;
        address = default;
        syntax = true;
        if (argument.Length <= keyword.Length || !Ascii.EqualsIgnoreCase(argument[..keyword.Length], keyword))
            return false;
        ReadOnlySpan<byte> rest = argument[keyword.Length..].TrimStart((byte)' '); // old clients put a blank there
        if (rest.IsEmpty || rest[0] != '<')
            return false;
        syntax = false;
        kind = PathParser.Parse(rest, out int length, out address);
        if (kind == PathKind.Bad || (length < rest.Length && rest[length] != ' '))
            return false;
        argument = rest[length..];
        return true;
    }

    private static Reply? Decode(ReadOnlySpan<byte> address, bool utf8Allowed, out string text)
    {
        text = "";
        if (Ascii.IsValid(address))
        {
            text = Encoding.ASCII.GetString(address);
            return null;
        }
        try
        {
            text = StrictUtf8.GetString(address);
        }
        catch (DecoderFallbackException)
        {
            return Replies.BadUtf8;
        }
        // An address in the log must not end a line there, nor turn it around.
        if (text.Any(EventLine.IsControl))
            return Replies.BadUtf8;
        return utf8Allowed ? null : Replies.NeedsSmtpUtf8;
    }

    private static Reply? ParseMailParameters(ReadOnlySpan<byte> text, bool takesAuth, ref MailParameters parameters)
    {
        while (NextParameter(ref text, out ReadOnlySpan<byte> key, out ReadOnlySpan<byte> value, out bool hasValue))
        {
            bool ok;
            if (Ascii.EqualsIgnoreCase(key, "SIZE"u8))
                ok = parameters.Size is null && ParseSize(value, out parameters.Size);
            else if (Ascii.EqualsIgnoreCase(key, "BODY"u8))
                ok = parameters.Body is null && ParseBody(value, out parameters.Body);
            else if (Ascii.EqualsIgnoreCase(key, "SMTPUTF8"u8))
                (ok, parameters.SmtpUtf8) = (!hasValue && !parameters.SmtpUtf8, true);
            else if (Ascii.EqualsIgnoreCase(key, "RET"u8))
                ok = parameters.Return == DsnReturn.Unspecified && ParseReturn(value, out parameters.Return);
            else if (Ascii.EqualsIgnoreCase(key, "ENVID"u8))
                ok = parameters.EnvelopeId is null && ParseXtext(value, MaxEnvelopeId, out parameters.EnvelopeId);
            else if (takesAuth && Ascii.EqualsIgnoreCase(key, "AUTH"u8))
                // Who the message was first submitted by, for those who trust the client in that: nobody here, so it is not kept.
                (ok, parameters.HasAuth) = (!parameters.HasAuth && (value.SequenceEqual("<>"u8) || (!value.IsEmpty && IsXtext(value))), true);
            else
                return Replies.UnknownParameter;
            if (!ok)
                return Replies.BadParameter;
        }
        return null;
    }

    private static Reply? ParseRcptParameters(ReadOnlySpan<byte> text, bool utf8Allowed, out DsnNotify notify, out string? originalRecipient)
    {
        notify = DsnNotify.Unspecified;
        originalRecipient = null;
        while (NextParameter(ref text, out ReadOnlySpan<byte> key, out ReadOnlySpan<byte> value, out _))
        {
            bool ok;
            if (Ascii.EqualsIgnoreCase(key, "NOTIFY"u8))
                ok = notify == DsnNotify.Unspecified && ParseNotify(value, out notify);
            else if (Ascii.EqualsIgnoreCase(key, "ORCPT"u8))
                ok = originalRecipient is null && ParseOriginalRecipient(value, utf8Allowed, out originalRecipient);
            else
                return Replies.UnknownParameter;
            if (!ok)
                return Replies.BadParameter;
        }
        return null;
    }

    private static bool NextParameter(ref ReadOnlySpan<byte> text, out ReadOnlySpan<byte> key, out ReadOnlySpan<byte> value, out bool hasValue)
    {
        text = text.TrimStart((byte)' ');
        int end = text.IndexOf((byte)' ');
        ReadOnlySpan<byte> parameter = end < 0 ? text : text[..end];
        text = end < 0 ? default : text[end..];
        int equals = parameter.IndexOf((byte)'=');
        hasValue = equals >= 0;
        key = hasValue ? parameter[..equals] : parameter;
        value = hasValue ? parameter[(equals + 1)..] : default;
        return !parameter.IsEmpty;
    }

    /// <summary>RFC 1870 5: up to 20 digits, more than 64 bits hold; such a number is over any limit.</summary>
    private static bool ParseSize(ReadOnlySpan<byte> value, out long? size)
    {
        size = null;
        if (value.Length is 0 or > 20 || value.ContainsAnyExceptInRange((byte)'0', (byte)'9'))
            return false;
        size = long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : long.MaxValue;
        return true;
    }

    private static bool ParseBody(ReadOnlySpan<byte> value, out BodyType? body)
    {
        // BINARYMIME is not announced, so it is no valid value here (RFC 3030 3).
        body = Ascii.EqualsIgnoreCase(value, "7BIT"u8) ? BodyType.SevenBit
            : Ascii.EqualsIgnoreCase(value, "8BITMIME"u8) ? BodyType.EightBitMime : null;
        return body is not null;
    }

    private static bool ParseReturn(ReadOnlySpan<byte> value, out DsnReturn result)
    {
        result = Ascii.EqualsIgnoreCase(value, "FULL"u8) ? DsnReturn.Full
            : Ascii.EqualsIgnoreCase(value, "HDRS"u8) ? DsnReturn.Headers : DsnReturn.Unspecified;
        return result != DsnReturn.Unspecified;
    }

    private static bool ParseNotify(ReadOnlySpan<byte> value, out DsnNotify notify)
    {
        notify = DsnNotify.Unspecified;
        foreach (Range range in value.Split((byte)','))
        {
            ReadOnlySpan<byte> word = value[range];
            DsnNotify one = Ascii.EqualsIgnoreCase(word, "NEVER"u8) ? DsnNotify.Never
                : Ascii.EqualsIgnoreCase(word, "SUCCESS"u8) ? DsnNotify.Success
                : Ascii.EqualsIgnoreCase(word, "FAILURE"u8) ? DsnNotify.Failure
                : Ascii.EqualsIgnoreCase(word, "DELAY"u8) ? DsnNotify.Delay : DsnNotify.Unspecified;
            if (one == DsnNotify.Unspecified)
                return false;
            notify |= one;
        }
        // RFC 3461 4.1: NEVER stands alone.
        return notify == DsnNotify.Never || !notify.HasFlag(DsnNotify.Never);
    }

    /// <summary>RFC 3461 4.2: addr-type ";" xtext; under SMTPUTF8 the type utf-8 may hold UTF-8 (RFC 6533 3).</summary>
    private static bool ParseOriginalRecipient(ReadOnlySpan<byte> value, bool utf8Allowed, out string? text)
    {
        text = null;
        int semicolon = value.IndexOf((byte)';');
        if (semicolon <= 0 || semicolon == value.Length - 1 || value.Length > MaxOriginalRecipient)
            return false;
        foreach (byte b in value[..semicolon])
        {
            if (!char.IsAsciiLetterOrDigit((char)b) && b != '-')
                return false;
        }
        if (Ascii.IsValid(value) || !utf8Allowed || !Ascii.EqualsIgnoreCase(value[..semicolon], "utf-8"u8))
            return IsXtext(value[(semicolon + 1)..]) && Set(value, out text);
        try
        {
            text = StrictUtf8.GetString(value);
            return true;
        }
        catch (DecoderFallbackException)
        {
            return false;
        }
    }

    private static bool ParseXtext(ReadOnlySpan<byte> value, int limit, out string? text)
    {
        text = null;
        return value.Length > 0 && value.Length <= limit && IsXtext(value) && Set(value, out text);
    }

    private static bool Set(ReadOnlySpan<byte> value, out string? text)
    {
        text = Encoding.ASCII.GetString(value);
        return true;
    }

    /// <summary>RFC 3461 4: printable ASCII without "=" and with "+" only before two upper-case hexadecimal digits.</summary>
    private static bool IsXtext(ReadOnlySpan<byte> value)
    {
        for (int i = 0; i < value.Length; i++)
        {
            if (value[i] is < 33 or > 126 or (byte)'=')
                return false;
            if (value[i] == '+' && (i + 2 >= value.Length || !char.IsAsciiHexDigitUpper((char)value[i + 1]) || !char.IsAsciiHexDigitUpper((char)value[i + 2])))
                return false;
        }
        return true;
    }

    private struct MailParameters
    {
        public long? Size;
        public BodyType? Body;
        public bool SmtpUtf8;
        public bool HasAuth;
        public DsnReturn Return;
        public string? EnvelopeId;
    }
}
