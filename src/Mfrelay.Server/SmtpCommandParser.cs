namespace Mfrelay.Server;

/// <summary>The commands of RFC 5321 4.1.1 and 3030.</summary>
internal enum Verb
{
    Unknown,
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth,
    Xclient,
    Quit,
    /// <summary>Commands that we know and do not have.</summary>
    NotImplemented,
    /// <summary>An HTTP request, a TLS handshake: not one of ours.</summary>
    NotSmtp,
}

internal static class VerbNames
{
    /// <summary>How log lines name the stage of a refusal: "mail", "rcpt"; "command" for what is no command.</summary>
    public static string Of(Verb verb) => verb switch
    {
        Verb.Unknown or Verb.NotImplemented or Verb.NotSmtp => "command",
        _ => verb.ToString().ToLowerInvariant(),
    };
}

/// <summary>A command line, taken apart.</summary>
/// <param name="verb">Which command it is.</param>
/// <param name="argument">What follows the verb, without blanks around it.</param>
internal readonly ref struct SmtpCommand(Verb verb, ReadOnlySpan<byte> argument)
{
    public Verb Verb { get; } = verb;
    public ReadOnlySpan<byte> Argument { get; } = argument;
}

/// <summary>
/// Command lines (RFC 5321 4.1.1): <c>verb [SP argument]</c>. Pure: octets to value.
/// </summary>
internal static class SmtpCommandParser
{
    /// <summary>Octets of the longest line of all, CRLF included: those of AUTH (RFC 4954 4); commands have server.max_command_line.</summary>
    public const int MaxLine = 12288;

    /// <summary>No client of SMTP begins a line so: a TLS handshake, or some other binary protocol, which may never send CRLF.</summary>
    public static bool IsBinary(byte first) => first is (< (byte)' ' and not ((byte)'\t' or (byte)'\r' or (byte)'\n')) or > 0x7E;

    public static SmtpCommand Parse(ReadOnlySpan<byte> line)
    {
        int end = line.IndexOf((byte)' ');
        ReadOnlySpan<byte> word = end < 0 ? line : line[..end];
        ReadOnlySpan<byte> argument = end < 0 ? default : line[(end + 1)..].Trim((byte)' ');
        return new SmtpCommand(VerbOf(word), argument);
    }

    private static Verb VerbOf(ReadOnlySpan<byte> word)
    {
        // Another protocol, or mail data of a client that did not wait for 354.
        if (word.Length > 0 && !char.IsAsciiLetter((char)word[0]))
            return word[0] is (byte)'\t' or (byte)'\r' or (byte)'\n' ? Verb.Unknown : Verb.NotSmtp;
        Span<byte> upper = stackalloc byte[8];
        if (word.Length is < 3 or > 8)
            return Verb.Unknown;
        upper = upper[..word.Length];
        System.Text.Ascii.ToUpper(word, upper, out int written);
        if (written != word.Length)
            return Verb.Unknown;
        return upper switch
        {
            _ when upper.SequenceEqual("EHLO"u8) => Verb.Ehlo,
            _ when upper.SequenceEqual("HELO"u8) => Verb.Helo,
            _ when upper.SequenceEqual("MAIL"u8) => Verb.Mail,
            _ when upper.SequenceEqual("RCPT"u8) => Verb.Rcpt,
            _ when upper.SequenceEqual("DATA"u8) => Verb.Data,
            _ when upper.SequenceEqual("BDAT"u8) => Verb.Bdat,
            _ when upper.SequenceEqual("RSET"u8) => Verb.Rset,
            _ when upper.SequenceEqual("NOOP"u8) => Verb.Noop,
            _ when upper.SequenceEqual("VRFY"u8) => Verb.Vrfy,
            _ when upper.SequenceEqual("EXPN"u8) => Verb.Expn,
            _ when upper.SequenceEqual("HELP"u8) => Verb.Help,
            _ when upper.SequenceEqual("QUIT"u8) => Verb.Quit,
            _ when upper.SequenceEqual("AUTH"u8) => Verb.Auth,
            _ when upper.SequenceEqual("STARTTLS"u8) => Verb.StartTls,
            _ when upper.SequenceEqual("XCLIENT"u8) => Verb.Xclient,
            _ when upper.SequenceEqual("TURN"u8) || upper.SequenceEqual("ETRN"u8) || upper.SequenceEqual("SEND"u8)
                || upper.SequenceEqual("SOML"u8) || upper.SequenceEqual("SAML"u8) => Verb.NotImplemented,
            _ when upper.SequenceEqual("GET"u8) || upper.SequenceEqual("POST"u8) || upper.SequenceEqual("PUT"u8)
                || upper.SequenceEqual("CONNECT"u8) || upper.SequenceEqual("OPTIONS"u8) || upper.SequenceEqual("HEAD"u8)
                || upper.SequenceEqual("DELETE"u8) || upper.SequenceEqual("PATCH"u8) || upper.SequenceEqual("TRACE"u8) => Verb.NotSmtp,
            _ => Verb.Unknown,
        };
    }
}
