using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>Every reply of the server. The private reason of a refusal goes to the log, not to the peer.</summary>
internal static class Replies
{
    public static readonly Reply Ok = Reply.Of(250, "2.0.0", "Ok");
    public static readonly Reply SenderOk = Reply.Of(250, "2.1.0", "Ok");
    public static readonly Reply RecipientOk = Reply.Of(250, "2.1.5", "Ok");
    public static readonly Reply ChunkOk = Reply.Of(250, "2.0.0", "Chunk received");
    public static readonly Reply Bye = Reply.Of(221, "2.0.0", "Bye");
    public static readonly Reply StartMail = Reply.Of(354, "", "End data with <CR><LF>.<CR><LF>");
    public static readonly Reply CannotVerify = Reply.Of(252, "2.5.0", "Cannot verify the user, but will try to deliver");
    public static readonly Reply Help = Reply.Of(214, "2.0.0", "Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT (RFC 5321)");

    // Syntax
    public static readonly Reply UnknownCommand = Reply.Of(500, "5.5.2", "Command not recognized");
    public static readonly Reply BadCharacters = Reply.Of(500, "5.5.2", "Bare CR, bare LF or control character in command");
    public static readonly Reply LineTooLong = Reply.Of(500, "5.5.2", "Line too long").At("server.max_command_line");
    public static readonly Reply NotImplemented = Reply.Of(502, "5.5.1", "Command not implemented");
    public static readonly Reply NoArgument = Reply.Of(501, "5.5.4", "Syntax: no argument allowed");
    public static readonly Reply BadHello = Reply.Of(501, "5.5.4", "Syntax: EHLO domain or [address]");
    public static readonly Reply BadMail = Reply.Of(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]");
    public static readonly Reply BadRcpt = Reply.Of(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]");
    public static readonly Reply BadBdat = Reply.Of(501, "5.5.4", "Syntax: BDAT octets [LAST]");
    public static readonly Reply BadSender = Reply.Of(501, "5.1.7", "Bad sender address syntax");
    public static readonly Reply BadRecipient = Reply.Of(501, "5.1.3", "Bad recipient address syntax");
    public static readonly Reply BadParameter = Reply.Of(501, "5.5.4", "Bad or repeated parameter");
    public static readonly Reply UnknownParameter = Reply.Of(555, "5.5.4", "Parameter not recognized or not implemented");
    public static readonly Reply BadUtf8 = Reply.Of(501, "5.5.2", "Invalid UTF-8");
    public static readonly Reply NeedsSmtpUtf8 = Reply.Of(553, "5.6.7", "Non-ASCII address without SMTPUTF8");

    // Order
    public static readonly Reply HelloFirst = Reply.Of(503, "5.5.1", "EHLO or HELO first");
    public static readonly Reply NestedMail = Reply.Of(503, "5.5.1", "Sender already given");
    public static readonly Reply MailFirst = Reply.Of(503, "5.5.1", "MAIL first");
    public static readonly Reply NoValidRecipients = Reply.Of(554, "5.5.1", "No valid recipients");
    public static readonly Reply DataInsideBdat = Reply.Of(503, "5.5.1", "DATA and BDAT cannot be mixed");
    public static readonly Reply RcptInsideBdat = Reply.Of(503, "5.5.1", "No recipients after the first chunk");
    public static readonly Reply TransactionFailed = Reply.Of(503, "5.5.1", "A chunk was refused: RSET first");

    // Policy and limits
    public static readonly Reply MayNotSend = Reply.Of(550, "5.7.1", "Your address may not send through this relay");
    public static readonly Reply NoRoute = Reply.Of(550, "5.1.2", "No mail server is registered for this domain");
    public static readonly Reply NeedsAddress = Reply.Of(550, "5.1.1", "A recipient is needed");
    public static readonly Reply TooManyRecipients = Reply.Of(452, "4.5.3", "Too many recipients").At("server.max_recipients");
    public static readonly Reply TooLarge = Reply.Of(552, "5.3.4", "Message size exceeds the limit").At("server.max_message_size");
    public static readonly Reply HeaderTooLarge = Reply.Of(552, "5.3.4", "Message header exceeds the limit").At("server.max_header_size");
    public static readonly Reply TextLineTooLong = Reply.Of(554, "5.6.0", "Line of mail data too long").At("server.max_text_line");
    public static readonly Reply TooManyHops = Reply.Of(554, "5.4.6", "Too many hops: the message loops").At("server.max_hops");
    public static readonly Reply BareNewline = Reply.Of(550, "5.6.0", "Bare CR, bare LF or NUL in mail data (RFC 5321 2.3.8)");
    public static readonly Reply NoFinalNewline = Reply.Of(550, "5.6.0", "Mail data does not end in CRLF");
    public static readonly Reply TooManyErrors = Reply.Of(421, "4.7.0", "Too many errors").At("server.max_errors");
    public static readonly Reply TooManyIdleCommands = TooManyErrors.At("server.max_idle_commands");
    public static readonly Reply TooManyCommands = Reply.Of(421, "4.7.0", "Too many commands").At("server.max_commands");
    public static readonly Reply TooManyMessages = Reply.Of(452, "4.7.1", "Too many messages, try again later").At("server.max_message_rate");
    public static readonly Reply TooManyConnections = Reply.Of(421, "4.3.2", "Too many connections, try again later").At("server.max_connections");
    public static readonly Reply TooManyConnectionsOfClient = TooManyConnections.At("server.max_connections_per_client");
    public static readonly Reply TooManyConnectionsPerMinute = TooManyConnections.At("server.max_connection_rate");
    public static readonly Reply MayNotRelay = Reply.Of(550, "5.7.1", "Relaying denied");
    public static readonly Reply HeloRefused = Reply.Of(550, "5.7.1", "Refused by policy");
    public static readonly Reply SenderRefused = Reply.Of(550, "5.7.1", "Sender refused by policy");
    public static readonly Reply RecipientRefused = Reply.Of(550, "5.7.1", "Recipient refused by policy");
    public static readonly Reply NotSmtp = Reply.Of(554, "5.5.0", "This is an SMTP server");

    // Ours
    public static readonly Reply NoRoom = Reply.Of(452, "4.3.1", "Insufficient system storage");
    public static readonly Reply LittleRoom = NoRoom.At("server.min_free_space");
    public static readonly Reply StorageFailed = Reply.Of(451, "4.3.0", "Local error, try again later");
    public static readonly Reply Timeout = Reply.Of(421, "4.4.2", "Timeout, closing the connection").At("server.command_timeout");
    public static readonly Reply UnauthenticatedTimeout = Timeout.At("server.unauthenticated_timeout");
    public static readonly Reply DataTimeout = Timeout.At("server.data_timeout");
    public static readonly Reply TooSlow = Timeout.At("server.min_data_rate");
    public static readonly Reply ShuttingDown = Reply.Of(421, "4.3.2", "Service shutting down");

    public static readonly Reply TooLargeForRoute = Reply.Of(552, "5.3.4", "Message size exceeds the limit of the recipient's mail server");

    // TLS, AUTH, XCLIENT
    public static readonly Reply ReadyForTls = Reply.Of(220, "2.0.0", "Ready to start TLS");
    public static readonly Reply AlreadyTls = Reply.Of(503, "5.5.1", "TLS is on already");
    public static readonly Reply NoTlsNow = Reply.Of(454, "4.7.0", "TLS not available now");
    public static readonly Reply TlsRequired = Reply.Of(530, "5.7.0", "Must issue a STARTTLS command first");
    public static readonly Reply AuthRequired = Reply.Of(530, "5.7.0", "Authentication required");
    public static readonly Reply AuthNeedsTls = Reply.Of(538, "5.7.11", "Encryption required: STARTTLS first");
    public static readonly Reply Authenticated = Reply.Of(235, "2.7.0", "Authentication successful");
    public static readonly Reply AuthFailed = Reply.Of(535, "5.7.8", "Authentication credentials invalid");
    public static readonly Reply AuthCancelled = Reply.Of(501, "5.7.0", "Authentication cancelled");
    public static readonly Reply BadAuth = Reply.Of(501, "5.5.2", "Cannot read this as AUTH");
    public static readonly Reply AuthLineTooLong = Reply.Of(500, "5.5.6", "Line of AUTH too long"); // RFC 4954 6
    public static readonly Reply UnknownMechanism = Reply.Of(504, "5.5.4", "Mechanism not offered");
    public static readonly Reply AlreadyAuthenticated = Reply.Of(503, "5.5.1", "Already authenticated");
    public static readonly Reply AuthInsideMail = Reply.Of(503, "5.5.1", "No AUTH inside a mail transaction");
    public static readonly Reply TooManyAuthFailures = Reply.Of(421, "4.7.0", "Too many failures").At("server.max_auth_failures");
    public static readonly Reply AuthBlocked = Reply.Of(454, "4.7.0", "Too many failures, try again later").At("server.max_auth_failures_per_client");
    public static readonly Reply AuthUnavailable = Reply.Of(454, "4.7.0", "Temporary authentication failure"); // RFC 4954 6: no new password is asked for
    public static readonly Reply BadXclient = Reply.Of(501, "5.5.4", "Bad XCLIENT attribute");
    public static readonly Reply XclientInsideMail = Reply.Of(503, "5.5.1", "No XCLIENT inside a mail transaction");

    /// <summary>RFC 5321 4.2.3; S7 and S8.</summary>
    public static Reply ServiceNotAvailable(string hostName) => Reply.Of(421, "4.4.1", $"{hostName} Service not available");

    public static Reply Queued(QueueId id)
    {
        Span<byte> text = stackalloc byte[QueueId.Length];
        id.Format(text);
        return Reply.Of(250, "2.0.0", [.. "250 2.0.0 Ok: queued as "u8, .. text, .. "\r\n"u8]);
    }
    public static Reply Greeting(string hostName) => Reply.Of(220, "", $"{hostName} ESMTP mfrelay");
    public static Reply Helo(string hostName) => Reply.Of(250, "", hostName);

    public static Reply Ehlo(string hostName, long maxMessageSize, bool startTls, bool auth, bool xclient)
    {
        List<string> lines = [hostName, "PIPELINING", $"SIZE {maxMessageSize}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"];
        if (startTls)
            lines.Add("STARTTLS");
        if (auth)
            lines.Add("AUTH SCRAM-SHA-256 PLAIN LOGIN");
        if (xclient)
            lines.Add("XCLIENT NAME ADDR PORT");
        lines.Add("CHUNKING");
        return Reply.Lines(250, lines);
    }

    /// <summary>334 and base64 (RFC 4954 4). No limit of 512 octets applies here.</summary>
    public static Reply Challenge(byte[] octets) => Reply.Of(334, "", Convert.ToBase64String(octets));
}
