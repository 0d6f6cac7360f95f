using System.Net;
using System.Net.Sockets;
using MailKit.Net.Smtp;
using MailKit.Security;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Opens sessions: connects a socket of our own, puts TLS on it, and has MailKit read the greeting, do EHLO (HELO when that is refused) and log in.
/// What MailKit learned is kept, MailKit is not: from then on the connection belongs to <see cref="OutboundSession"/>.
/// </summary>
internal sealed partial class SessionOpener(SessionSettings settings)
{
    /// <param name="addresses">Where to connect, in this order; null: those of the mail server's host.</param>
    public async Task<Opening> OpenAsync(MailServer server, CancellationToken cancellation, IReadOnlyList<IPAddress>? addresses = null)
    {
        Opening opening = await TryAsync(server, addresses, server.Tls != TlsMode.None, cancellation);
        // Of a connection on which TLS did not come about nobody knows what it would do next: the clear gets a new one.
        bool inTheClear = server.Tls == TlsMode.Opportunistic && opening.Outcome is { Stage: Stage.Tls, Failure: not Failure.Cancelled };
        return inTheClear ? await TryAsync(server, addresses, withTls: false, cancellation) : opening;
    }

    private async Task<Opening> TryAsync(MailServer server, IReadOnlyList<IPAddress>? addresses, bool withTls, CancellationToken cancellation)
    {
        (Socket? socket, Outcome failed) = await ConnectAsync(server, addresses, cancellation);
        if (socket is null)
            return new Opening(null, failed);
        Opening opening = default;
        Wire wire = new(socket);
        try
        {
            if (withTls && server.Tls == TlsMode.Implicit)
            {
                (Wire? secure, failed) = await SecureAsync(socket, server, cancellation);
                return opening = secure is null ? new Opening(null, failed) : await GreetAsync(wire = secure, server, greeted: false, secured: true, cancellation);
            }
            opening = await GreetAsync(wire, server, greeted: false, secured: !withTls, cancellation);
            if (opening is { Session: null, Outcome.IsOpen: true })
            {
                (Wire? secure, failed) = await SecureAsync(socket, server, cancellation);
                opening = secure is null ? new Opening(null, failed) : await GreetAsync(wire = secure, server, greeted: true, secured: true, cancellation);
            }
            return opening;
        }
        finally
        {
            if (opening.Session is null)
                wire.Dispose();
        }
    }

    /// <summary>From greeting to login. Without session and outcome: 220 to STARTTLS has come, and the handshake is due.</summary>
    /// <param name="greeted">The greeting was read before STARTTLS.</param>
    /// <param name="secured">There is no TLS to come: it is there, or it is not wanted.</param>
    private async Task<Opening> GreetAsync(Wire wire, MailServer server, bool greeted, bool secured, CancellationToken cancellation)
    {
        using var stream = new OpeningStream(wire, settings, greeted, cancellation);
        // Disposing the client closes the stream and says nothing to the peer, and closing the stream leaves the socket alone.
        using var client = new SmtpClient { LocalDomain = settings.HostName, Timeout = Timeout.Infinite };
        string? detail = null;
        try
        {
            await client.ConnectAsync(stream, server.Host, server.Port, SecureSocketOptions.None, cancellation);
            if (!secured && (client.Capabilities.HasFlag(SmtpCapabilities.StartTLS) || server.Tls == TlsMode.Required))
                return await StartTlsAsync(stream, client.Capabilities, cancellation);
            if (!stream.OutOfStep && server.Auth != AuthMethod.None && await LogInAsync(stream, client, server, cancellation) is { } why)
                return new Opening(null, OutcomeOf(stream, null, cancellation, Outcome.Of(Stage.Auth, Failure.AuthFailed, detail: why)));
            if (!stream.OutOfStep)
                return new Opening(new OutboundSession(wire, client.Capabilities, client.MaxSize, settings), default);
        }
        catch (Exception e) when (e is SmtpCommandException or SmtpProtocolException or IOException or SocketException or OperationCanceledException
            or AuthenticationException)
        {
            detail = (e as SocketException ?? e.InnerException as SocketException)?.Message;
        }
        return new Opening(null, OutcomeOf(stream, detail, cancellation));
    }

    /// <summary>Judges by what was on the wire, not by which exception MailKit made of it.</summary>
    private static Outcome OutcomeOf(OpeningStream stream, string? detail, CancellationToken cancellation, Outcome otherwise = default)
    {
        if (cancellation.IsCancellationRequested)
            return Outcome.Of(stream.Stage, Failure.Cancelled);
        if (stream.LastReply is { Class: 4 or 5 } reply)
            return Outcome.Of(stream.Stage, reply);
        if (stream.Failure != Failure.None)
            return Outcome.Of(stream.Stage, stream.Failure);
        if (!otherwise.IsOpen)
            return otherwise;
        // A whole reply that is neither an error nor what was due (354 for a greeting), or one too many; otherwise the socket broke.
        return Outcome.Of(stream.Stage, stream.LastReply is not null ? Failure.Garbage : Failure.Closed, detail: detail);
    }

    /// <summary>Connects to the first address that answers, in the order of the resolver.</summary>
    private async Task<(Socket? Socket, Outcome Failed)> ConnectAsync(
        MailServer server, IReadOnlyList<IPAddress>? addresses, CancellationToken cancellation)
    {
        Outcome failed = Outcome.Of(Stage.Connect, Failure.Unreachable, detail: "no address");
        try
        {
            using CancellationTokenSource deadline = Within(settings.ConnectTimeout, cancellation);
            addresses ??= IPAddress.TryParse(server.Host, out IPAddress? literal)
                ? [literal]
                : await Dns.GetHostAddressesAsync(server.Host, deadline.Token);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return (null, ConnectFailure(e, cancellation));
        }
        IPAddress? source = IPAddress.TryParse(server.SourceAddress, out IPAddress? own) ? own : null;
        foreach (IPAddress address in addresses)
        {
            if (source is not null && source.AddressFamily != address.AddressFamily)
                continue;
            Socket? socket = null;
            try
            {
                // Without NoDelay every second small write waits for a delayed ACK: 23 messages/s instead of thousands.
                socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                if (source is not null)
                    socket.Bind(new IPEndPoint(source, 0));
                using CancellationTokenSource deadline = Within(settings.ConnectTimeout, cancellation);
                await socket.ConnectAsync(new IPEndPoint(address, server.Port), deadline.Token);
                return (socket, default);
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                socket?.Dispose();
                failed = ConnectFailure(e, cancellation);
                if (failed.Failure == Failure.Cancelled)
                    break;
            }
        }
        return (null, failed);
    }

    private static CancellationTokenSource Within(TimeSpan timeout, CancellationToken cancellation)
    {
        var source = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        source.CancelAfter(timeout);
        return source;
    }

    private static Outcome ConnectFailure(Exception e, CancellationToken cancellation) => e switch
    {
        SocketException { SocketErrorCode: SocketError.TimedOut } => Outcome.Of(Stage.Connect, Failure.TimedOut),
        SocketException socket => Outcome.Of(Stage.Connect, Failure.Unreachable, detail: socket.Message),
        _ => Outcome.Of(Stage.Connect, cancellation.IsCancellationRequested ? Failure.Cancelled : Failure.TimedOut),
    };
}
