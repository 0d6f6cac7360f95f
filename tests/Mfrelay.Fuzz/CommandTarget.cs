using System.Net;
using System.Text;
using Mfrelay.Core;
using Mfrelay.Server;

namespace Mfrelay.Fuzz;

/// <summary>
/// Command lines (the first octet chooses listener and client, LF ends a line) through parser and session. Oracles: a slow parser; replies are
/// well-formed; what the session keeps can be written to envelope, log and trace header; nobody relays who may not.
/// </summary>
internal static class CommandTarget
{
    private static readonly IPEndPoint Users = new(IPAddress.Loopback, 587);
    private static readonly SortedList<int, Admission> Admissions = [];
    private static readonly UserTable UserTable = UserTable.Empty.With("alice", ScramCredential.Of("secret99"u8, ScramCredential.LeastIterations));

    private static readonly Dictionary<string, Verb> Verbs = new(StringComparer.Ordinal)
    {
        ["EHLO"] = Verb.Ehlo,
        ["HELO"] = Verb.Helo,
        ["MAIL"] = Verb.Mail,
        ["RCPT"] = Verb.Rcpt,
        ["DATA"] = Verb.Data,
        ["BDAT"] = Verb.Bdat,
        ["RSET"] = Verb.Rset,
        ["NOOP"] = Verb.Noop,
        ["VRFY"] = Verb.Vrfy,
        ["EXPN"] = Verb.Expn,
        ["HELP"] = Verb.Help,
        ["QUIT"] = Verb.Quit,
        ["AUTH"] = Verb.Auth,
        ["STARTTLS"] = Verb.StartTls,
        ["XCLIENT"] = Verb.Xclient,
        ["TURN"] = Verb.NotImplemented,
        ["ETRN"] = Verb.NotImplemented,
        ["SEND"] = Verb.NotImplemented,
        ["GET"] = Verb.NotSmtp,
        ["POST"] = Verb.NotSmtp,
        ["PUT"] = Verb.NotSmtp,
        ["CONNECT"] = Verb.NotSmtp,
        ["OPTIONS"] = Verb.NotSmtp,
    };

    public static FuzzTarget Target { get; } = new("command", Run, FuzzTarget.Words(
        "EHLO ", "HELO ", "MAIL FROM:<", "RCPT TO:<", "DATA", "BDAT ", " LAST", "RSET", "NOOP", "VRFY ", "AUTH ", "PLAIN ", "LOGIN", "SCRAM-SHA-256 ",
        "STARTTLS", "XCLIENT ", "ADDR=", "NAME=", "PORT=", "IPV6:", "[UNAVAILABLE]", " SIZE=", " BODY=8BITMIME", " SMTPUTF8", " RET=FULL", " ENVID=",
        " AUTH=<>", " NOTIFY=", "NEVER,", "SUCCESS,FAILURE", " ORCPT=rfc822;", "utf-8;", "+2B", "@example.com>", "@a.example,@b.example:", "postmaster>",
        "[IPv6:::1]", "[192.0.2.1]", "\"a b\"", "\\\"", "\n", "<>", "ü", "AGFsaWNlAHNlY3JldDk5", "bixhPWFsaWNlLG49YWxpY2Uscj1yT3ByTkdmd0ViZVJXZ2JORWtxTw=="));

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        byte flags = input[0];
        bool stranger = (flags & 1) != 0;
        Admission admission = AdmissionOf(flags & 6);
        var peer = new SessionPeer(stranger ? new IPAddress([192, 0, 2, 1]) : IPAddress.Loopback, (flags & 16) != 0 ? Users : null);
        var session = new SmtpSession(() => admission, peer) { NewNonce = static () => "3rfcNHYJY1ZVvWVs7j", Users = static () => UserTable };
        if ((flags & 32) != 0)
            session.TlsStarted(isCertified: (flags & 64) != 0);
        CheckReply(session.Greet().Reply);
        foreach (Range range in input[1..].Split((byte)'\n'))
        {
            ReadOnlySpan<byte> line = input[1..][range];
            CheckParser(line);
            Step step = session.Command(line);
            CheckReply(step.Reply);
            if (!Follow(session, step, line.Length))
                return;
            Check(session, admission);
        }
    }

    private static Admission AdmissionOf(int flags)
    {
        if (Admissions.TryGetValue(flags, out Admission? admission))
            return admission;
        var settings = new Settings
        {
            HostName = "relay.example",
            Server = new ServerSettings
            {
                AcceptFrom = AcceptFrom.Anyone,
                UsersFile = "/users",
                AuthWithoutTls = (flags & 2) != 0,
                XclientFrom = (flags & 4) != 0 ? [IPNetwork.Parse("127.0.0.0/8")] : [],
                RefuseHelo = ["*.invalid"],
                RefuseSenders = ["refused@", "/^x+@/"],
                MaxRecipients = 100,
                MaxErrors = 50,
            },
            Certificates = [new CertificateSettings { File = "/none", Key = "/none" }],
            Listeners = [new ListenerSettings { Address = Users, Profile = ListenerProfile.Submission }],
            MailServers = [new MailServer { Domain = "example.com", Host = "192.0.2.9" }, new MailServer { Domain = "*", Host = "192.0.2.9" }],
        };
        return Admissions[flags] = new Admission(settings, health: null);
    }

    // What the pump does after a reply; false: the session is over.
    private static bool Follow(SmtpSession session, Step step, int chance)
    {
        switch (step.Next)
        {
            case Next.Close:
                return false;
            case Next.Data:
                Oracle.Holds(session.Transaction is { Recipients.Count: > 0 }, "354 only with a recipient");
                CheckReply(session.EndOfData((chance & 1) == 0 ? Replies.NoRoom : Replies.Ok).Reply);
                break;
            case Next.Chunk:
                Oracle.Holds(session.Transaction is { Recipients.Count: > 0, Failed: false } && step.Octets >= 0, "a chunk only with a recipient");
                CheckReply((step.Last ? session.EndOfData(Replies.Ok) : session.EndOfChunk((chance & 1) == 0 ? Replies.ChunkOk : Replies.NoRoom)).Reply);
                break;
            case Next.RefusedChunk:
                Oracle.Holds(step.Octets >= 0 && step.Reply.IsRefusal, "a refused chunk is refused");
                break;
            case Next.StartTls:
                session.TlsStarted(isCertified: false);
                Oracle.Holds(session is { HeloName: "", Transaction: null } && session.Peer.User is null, "STARTTLS forgets everything");
                break;
            case Next.Authenticate:
                AuthClaim claim = session.Claim!;
                Oracle.Holds(claim.Password is not null || !claim.IsProven || claim.Name is "alice", "SCRAM proves only users");
                CheckReply(session.EndOfAuth(claim.IsProven || (claim.Password is not null && (chance & 1) == 0)).Reply);
                break;
        }
        return true;
    }

    private static void CheckParser(ReadOnlySpan<byte> line)
    {
        SmtpCommand command = SmtpCommandParser.Parse(line);
        string text = Encoding.Latin1.GetString(line);
        string word = text.Split(' ')[0];
        Verb expected = Verbs.GetValueOrDefault(word.All(char.IsAscii) ? word.ToUpperInvariant() : word);
        if (word.Length > 0 && !char.IsAsciiLetter(word[0]) && word[0] is not ('\t' or '\r' or '\n'))
            expected = Verb.NotSmtp;
        Oracle.Holds(command.Verb == expected, "the verb is the word before the first blank");
        Oracle.Holds(Encoding.Latin1.GetString(command.Argument) == (text.Length > word.Length ? text[word.Length..].Trim(' ') : ""), "the argument is what follows");
    }

    internal static void CheckReply(Reply reply)
    {
        ReadOnlySpan<byte> wire = reply.Wire;
        Oracle.Holds(wire.EndsWith("\r\n"u8), "a reply ends in CRLF");
        Oracle.Holds(reply.Code is >= 211 and <= 555 && (reply.Status.Length == 0 || reply.Status[0] - '0' == reply.Code / 100), "class of status and code");
        Oracle.Holds(reply.Status.Length > 0 || reply.Code is 220 or 250 or 354 or 334, "every refusal has an enhanced status");
        while (!wire.IsEmpty)
        {
            int end = wire.IndexOf("\r\n"u8);
            Oracle.Holds(end + 2 <= 512 || reply.Code == 334, "reply lines have at most 512 octets");
            Oracle.Holds(!wire[..end].ContainsAnyExceptInRange((byte)' ', (byte)'~'), "replies are printable ASCII");
            wire = wire[(end + 2)..];
        }
    }

    private static void Check(SmtpSession session, Admission admission)
    {
        CheckText(session.HeloName);
        CheckText(session.LastAddress);
        if (session.Transaction is not { } transaction)
            return;
        CheckText(transaction.ReversePath);
        Oracle.Holds(transaction.Recipients.Count <= admission.Settings.Server.MaxRecipients, "no more recipients than allowed");
        Oracle.Holds(!session.Peer.HasProvenItself || !transaction.IsOfStranger || session.Peer.User is null, "users are no strangers");
        bool mayRelay = session.Peer.HasProvenItself || IPAddress.IsLoopback(session.Peer.Address);
        Oracle.Holds(session.Peer.Listener is null || session.Peer.HasProvenItself, "no mail on a listener for users from nobody");
        foreach (Recipient recipient in transaction.Recipients)
        {
            CheckText(recipient.ForwardPath);
            Oracle.Holds(mayRelay || recipient.ForwardPath.EndsWith("@example.com", StringComparison.OrdinalIgnoreCase)
                || recipient.ForwardPath.EndsWith("@example.com.", StringComparison.OrdinalIgnoreCase)
                || recipient.ForwardPath.Equals("postmaster", StringComparison.OrdinalIgnoreCase), "no open relay");
        }
    }

    private static void CheckText(string text)
    {
        foreach (char c in text)
            Oracle.Holds(!char.IsControl(c) && c is not ('\u2028' or '\u2029'), "no control character is kept");
    }
}
