using System.Net;
using System.Net.Sockets;
using MailKit.Net.Smtp;
using MailKit.Security;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Opens sessions: connects a socket of our own and has MailKit read the greeting and do EHLO (HELO when that is refused) on it.
/// What MailKit learned is kept, MailKit is not: from then on the connection belongs to <see cref="OutboundSession"/>.
/// </summary>
internal sealed class SessionOpener(SessionSettings settings)
{
    public async Task<Opening> OpenAsync(MailServer server, CancellationToken cancellation)
    {
        (Socket? socket, Outcome failed) = await ConnectAsync(server, cancellation);
        if (socket is null)
            return new Opening(null, failed);
        var wire = new Wire(socket);
        Opening opening = default;
        try
        {
            return opening = await GreetAsync(wire, server, cancellation);
        }
        finally
        {
            if (opening.Session is null)
                wire.Dispose();
        }
    }

    private async Task<Opening> GreetAsync(Wire wire, MailServer server, CancellationToken cancellation)
    {
        using var stream = new OpeningStream(wire, settings, cancellation);
        // Disposing the client closes the stream and says nothing to the peer, and closing the stream leaves the socket alone.
        using var client = new SmtpClient { LocalDomain = settings.HostName, Timeout = Timeout.Infinite };
        string? detail = null;
        try
        {
            await client.ConnectAsync(stream, server.Host, server.Port, SecureSocketOptions.None, cancellation);
            if (!stream.OutOfStep)
                return new Opening(new OutboundSession(wire, client.Capabilities, client.MaxSize, settings), default);
        }
        catch (Exception e) when (e is SmtpCommandException or SmtpProtocolException or IOException or SocketException or OperationCanceledException)
        {
            detail = (e as SocketException ?? e.InnerException as SocketException)?.Message;
        }
        return new Opening(null, OutcomeOf(stream, detail, cancellation));
    }

    /// <summary>Judges by what was on the wire, not by which exception MailKit made of it.</summary>
    private static Outcome OutcomeOf(OpeningStream stream, string? detail, CancellationToken cancellation)
    {
        if (cancellation.IsCancellationRequested)
            return Outcome.Of(stream.Stage, Failure.Cancelled);
        if (stream.LastReply is { Class: 4 or 5 } reply)
            return Outcome.Of(stream.Stage, reply);
        if (stream.Failure != Failure.None)
            return Outcome.Of(stream.Stage, stream.Failure);
        // A whole reply that is neither an error nor what was due (354 for a greeting), or one too many; otherwise the socket broke.
        return Outcome.Of(stream.Stage, stream.LastReply is not null ? Failure.Garbage : Failure.Closed, detail: detail);
    }

    /// <summary>Connects to the first address that answers, in the order of the resolver.</summary>
    private async Task<(Socket? Socket, Outcome Failed)> ConnectAsync(MailServer server, CancellationToken cancellation)
    {
        IPAddress[] addresses;
        Outcome failed = Outcome.Of(Stage.Connect, Failure.Unreachable, detail: "no address");
        try
        {
            using CancellationTokenSource deadline = Within(settings.ConnectTimeout, cancellation);
            addresses = IPAddress.TryParse(server.Host, out IPAddress? literal)
                ? [literal]
                : await Dns.GetHostAddressesAsync(server.Host, deadline.Token);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            return (null, ConnectFailure(e, cancellation));
        }
        foreach (IPAddress address in addresses)
        {
            Socket? socket = null;
            try
            {
                // Without NoDelay every second small write waits for a delayed ACK: 23 messages/s instead of thousands.
                socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
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
