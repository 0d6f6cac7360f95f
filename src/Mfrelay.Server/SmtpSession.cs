using System.Globalization;
using System.Net;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>What the pump does after sending the reply.</summary>
internal enum Next
{
    Command,

    /// <summary>The reply is 354: mail data up to the dot follows.</summary>
    Data,

    /// <summary>A chunk follows; its reply comes after it.</summary>
    Chunk,

    /// <summary>As <see cref="Chunk"/>, but its octets are thrown away and the reply of this step is sent after them.</summary>
    RefusedChunk,

    /// <summary>TLS begins behind the reply.</summary>
    StartTls,

    /// <summary>The pump finds out whether <see cref="SmtpSession.Claim"/> is true and asks <see cref="SmtpSession.EndOfAuth"/> for the reply.</summary>
    Authenticate,

    /// <summary>The client is another one from here on.</summary>
    ClientChanged,

    Close,
}

/// <param name="Octets">Of the chunk that follows.</param>
/// <param name="Last">It is the last one.</param>
/// <param name="Slow">The reply comes after a pause.</param>
internal readonly record struct Step(Reply Reply, Next Next = Next.Command, long Octets = 0, bool Last = false, bool Slow = false);

/// <summary>
/// The dialog of one session as a state machine: command line in, reply and next step out. No I/O, no clock, no store, so that every
/// dialog can be tested as text. Partial class: this file has the order of commands, SmtpSession.Mail.cs MAIL and RCPT,
/// SmtpSession.Security.cs STARTTLS, AUTH and XCLIENT.
/// </summary>
internal sealed partial class SmtpSession(Func<Admission> admission, SessionPeer peer)
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private bool _extended;
    private int _errors;
    private int _idleCommands;
    private int _commands;

    public SmtpSession(Func<Admission> admission, IPAddress client)
        : this(admission, new SessionPeer(client))
    {
    }

    public SessionPeer Peer { get; } = peer;

    /// <summary>False when this client has begun as many messages as it may for now.</summary>
    public Func<bool>? MayBegin { get; set; }

    /// <summary>False when there is no room for a message of this size; null: of unknown size.</summary>
    public Func<long?, bool>? HasRoom { get; set; }

    /// <summary>What the client called itself; empty before EHLO or HELO.</summary>
    public string HeloName { get; private set; } = "";

    /// <summary>The verb of the last command line: what a log line of its refusal names.</summary>
    public Verb LastVerb { get; private set; }

    /// <summary>The address that the last command line gave, once it was found good; empty for others.</summary>
    public string LastAddress { get; private set; } = "";

    /// <summary>Null outside of one.</summary>
    public MailTransaction? Transaction { get; private set; }

    private Admission Admission => admission();
    private ServerSettings Limits => Admission.Settings.Server;
    private ListenerPolicy Policy => Admission.PolicyOf(Peer.Listener);

    /// <summary>The with clause (RFC 3848, 6531 4.3).</summary>
    public string Protocol => (Transaction is { SmtpUtf8: true }, _extended, Peer.IsTls, Peer.User is not null) switch
    {
        (true, _, false, false) => "UTF8SMTP",
        (true, _, true, false) => "UTF8SMTPS",
        (true, _, false, true) => "UTF8SMTPA",
        (true, _, true, true) => "UTF8SMTPSA",
        (_, true, false, false) => "ESMTP",
        (_, true, true, false) => "ESMTPS",
        (_, true, false, true) => "ESMTPA",
        (_, true, true, true) => "ESMTPSA",
        _ => "SMTP",
    };

    /// <summary>How long a client may take for its next command.</summary>
    public TimeSpan CommandTimeout =>
        !Peer.HasProvenItself && Policy.RequireAuth ? Min(Limits.CommandTimeout, Limits.UnauthenticatedTimeout) : Limits.CommandTimeout;

    public Step Greet() => new(Admission.Greeting);

    /// <summary>One command line, without its CRLF.</summary>
    public Step Command(ReadOnlySpan<byte> line)
    {
        if (++_commands > Limits.MaxCommands && Limits.MaxCommands > 0)
            return new Step(Replies.TooManyCommands, Next.Close);
        if (_exchange is not null)
        {
            (LastVerb, LastAddress) = (Verb.Auth, "");
            return Judge(AuthLine(line));
        }
        SmtpCommand command = SmtpCommandParser.Parse(line);
        (LastVerb, LastAddress) = (command.Verb, "");
        if (command.Verb == Verb.NotSmtp)
            return new Step(Replies.NotSmtp, Next.Close);
        if (line.ContainsAnyInRange((byte)0, (byte)31) || line.Contains((byte)0x7F))
            return command.Verb == Verb.Bdat ? new Step(Replies.BadCharacters, Next.Close) : Judge(new Step(Replies.BadCharacters)); // as in Bdat
        return Judge(OutOfOrder(command.Verb) is { } refusal && command.Verb != Verb.Bdat ? new Step(refusal) : Apply(command));
    }

    /// <summary>A command line beyond <see cref="SmtpCommandParser.MaxLine"/>; its rest has been thrown away.</summary>
    public Step LineTooLong()
    {
        (LastVerb, LastAddress) = (IsInExchange ? Verb.Auth : Verb.Unknown, "");
        Reply reply = IsInExchange ? Replies.AuthLineTooLong : Replies.LineTooLong;
        _exchange = null;
        return Judge(new Step(reply));
    }

    /// <summary>After mail data, whatever came of it. Ends the transaction.</summary>
    public Step EndOfData(Reply reply)
    {
        Transaction = null;
        if (!reply.IsRefusal)
            _errors = _idleCommands = _commands = 0;
        return new Step(reply);
    }

    /// <summary>After a chunk that was not the last one. A refusal leaves a transaction that only RSET ends.</summary>
    public Step EndOfChunk(Reply reply)
    {
        if (Transaction is not null && reply.IsRefusal)
            Transaction.Failed = true;
        return new Step(reply);
    }

    /// <summary>The order of commands (RFC 5321 4.1.4): which verb may come when.</summary>
    private Reply? OutOfOrder(Verb verb) => verb switch
    {
        Verb.Mail when HeloName.Length == 0 => Replies.HelloFirst,
        Verb.Mail when Transaction is not null => Replies.NestedMail,
        Verb.Rcpt or Verb.Data or Verb.Bdat when Transaction is null => Replies.MailFirst,
        Verb.Rcpt when Transaction!.Chunked => Replies.RcptInsideBdat,
        Verb.Data when Transaction!.Chunked => Replies.DataInsideBdat,
        Verb.Data or Verb.Bdat when Transaction!.Recipients.Count == 0 => Replies.NoValidRecipients,
        Verb.Bdat when Transaction!.Failed => Replies.TransactionFailed,
        _ => null,
    };

    private Step Apply(SmtpCommand command) => command.Verb switch
    {
        Verb.Ehlo => Hello(command.Argument, extended: true),
        Verb.Helo => Hello(command.Argument, extended: false),
        Verb.Mail => Mail(command.Argument),
        Verb.Rcpt => Rcpt(command.Argument),
        Verb.Data => command.Argument.IsEmpty ? new Step(Replies.StartMail, Next.Data) : new Step(Replies.NoArgument),
        Verb.Bdat => Bdat(command.Argument),
        Verb.Rset => command.Argument.IsEmpty ? Reset() : new Step(Replies.NoArgument),
        Verb.Noop => Idle(Replies.Ok),
        Verb.Vrfy => Idle(Replies.CannotVerify),
        Verb.Help => Idle(Replies.Help),
        Verb.Expn or Verb.NotImplemented => new Step(Replies.NotImplemented),
        Verb.StartTls => StartTls(command.Argument),
        Verb.Auth => Auth(command.Argument),
        Verb.Xclient => Xclient(command.Argument),
        Verb.Quit => command.Argument.IsEmpty ? new Step(Replies.Bye, Next.Close) : new Step(Replies.NoArgument),
        _ => new Step(Replies.UnknownCommand),
    };

    private Step Hello(ReadOnlySpan<byte> argument, bool extended)
    {
        if (!PathParser.IsDomain(argument) || !Ascii.IsValid(argument))
            return new Step(Replies.BadHello);
        string name = Encoding.ASCII.GetString(argument);
        if (Admission.ForHelo(name) is { } refusal)
            return new Step(refusal);
        HeloName = name;
        _extended = extended;
        Transaction = null; // RFC 5321 4.1.4: as if RSET had come
        if (!extended)
            return Idle(Admission.Helo);
        return Idle(Admission.Ehlo(Policy.Tls == ListenerTls.Starttls && !Peer.IsTls, OffersAuth && Peer.User is null, Admission.MayXclient(Peer.Origin)));
    }

    private Step Reset()
    {
        Transaction = null;
        return Idle(Replies.Ok);
    }

    /// <summary>BDAT octets [LAST] (RFC 3030 2). Octets that are announced follow even when the command is refused.</summary>
    private Step Bdat(ReadOnlySpan<byte> argument)
    {
        int space = argument.IndexOf((byte)' ');
        ReadOnlySpan<byte> number = space < 0 ? argument : argument[..space];
        ReadOnlySpan<byte> rest = space < 0 ? default : argument[space..].Trim((byte)' ');
        bool last = Ascii.EqualsIgnoreCase(rest, "LAST"u8);
        // How many octets follow is unknown: taking them for commands would run what somebody wrote into a message.
        if (!long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out long octets))
            return new Step(Replies.BadBdat, Next.Close);
        if (!rest.IsEmpty && !last)
            return new Step(Replies.BadBdat, Next.RefusedChunk, octets, last);
        if (OutOfOrder(Verb.Bdat) is { } refusal)
            return new Step(refusal, Next.RefusedChunk, octets, last);
        Transaction!.Chunked = true;
        return new Step(Replies.ChunkOk, Next.Chunk, octets, last);
    }

    private Step Idle(Reply reply) => ++_idleCommands > Limits.MaxIdleCommands ? CountError(new Step(reply), Replies.TooManyIdleCommands) : new Step(reply);

    private Step Judge(Step step) => step.Reply.Code < 500 || step.Next is Next.Close or Next.Authenticate ? step : CountError(step, Replies.TooManyErrors);

    /// <summary>One more error: slower from half of the limit on, over at the limit.</summary>
    private Step CountError(Step step, Reply last)
    {
        if (++_errors >= Limits.MaxErrors)
            return new Step(last, Next.Close);
        return _errors > Limits.MaxErrors / 2 ? step with { Slow = true } : step;
    }

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
