using System.Net;
using System.Net.Sockets;
using Mfrelay.Core;

namespace Mfrelay;

/// <summary>
/// One check of a mail server (S2): connect, greeting, EHLO (HELO where that is refused), TLS as its settings say, QUIT. It costs the other side
/// little and sends no mail. Compiled into the server, which checks by it, and the command, which shows its steps.
/// </summary>
/// <param name="hostName">The argument of EHLO.</param>
/// <param name="timeout">For the connection, and for each answer.</param>
internal sealed class MailServerProbe(string hostName, TimeSpan timeout, TimeProvider time)
{
    /// <summary>What a check ended with: CheckSucceeded, ConnectFailed or DialogFailed. Throws for cancellation alone.</summary>
    /// <param name="step">Is told each step of the dialog, for people to read: "&lt; 220 mx.example.com ESMTP".</param>
    public async Task<HealthEvent> RunAsync(MailServer server, Action<string>? step, CancellationToken cancellation)
    {
        step?.Invoke($"connecting to {server.Address}");
        (Socket? socket, string error) = await ConnectAsync(server, cancellation);
        if (socket is null)
        {
            step?.Invoke($"failed: {error}");
            return new HealthEvent.ConnectFailed(error);
        }
        using var dialog = new ProbeDialog(new NetworkStream(socket, ownsSocket: true), timeout, time, step, cancellation);
        step?.Invoke($"connected to {socket.RemoteEndPoint}");
        HealthEvent result = await TalkAsync(dialog, server);
        await dialog.QuitAsync();
        return result;
    }

    private async Task<HealthEvent> TalkAsync(ProbeDialog dialog, MailServer server)
    {
        Announcement seen = Announcement.None;
        if (server.Tls == TlsMode.Implicit)
        {
            if (await dialog.HandshakeAsync(server, seen) is not { } secured)
                return new HealthEvent.DialogFailed($"TLS: {dialog.WhyNoTls}");
            seen = secured;
        }
        ProbeReply greeting = await dialog.ReadAsync();
        if (greeting.Code != 220)
            return new HealthEvent.DialogFailed($"greeting: {greeting}");
        string name = server.EhloName.Length > 0 ? server.EhloName : hostName;
        ProbeReply hello = await dialog.AskAsync($"EHLO {name}");
        if (hello.Class == 5) // RFC 5321 3.2: a server of RFC 821
        {
            hello = await dialog.AskAsync($"HELO {name}");
            return hello.Class != 2 ? new HealthEvent.DialogFailed($"HELO: {hello}")
                : server.Tls == TlsMode.Required ? new HealthEvent.DialogFailed("TLS: no STARTTLS without EHLO")
                : new HealthEvent.CheckSucceeded(seen);
        }
        if (hello.Class != 2)
            return new HealthEvent.DialogFailed($"EHLO: {hello}");
        Announcement announced = hello.Announcement with { Tls = seen.Tls, CertificateExpiry = seen.CertificateExpiry };
        return server.Tls is TlsMode.None or TlsMode.Implicit ? new HealthEvent.CheckSucceeded(announced) : await SecureAsync(dialog, server, announced);
    }

    /// <summary>
    /// STARTTLS. Where TLS is required the check fails without it, as the delivery would; otherwise a failing handshake is noted and does not
    /// fail the check.
    /// </summary>
    private static async Task<HealthEvent> SecureAsync(ProbeDialog dialog, MailServer server, Announcement announced)
    {
        bool required = server.Tls == TlsMode.Required;
        if (!announced.Extensions.Split(' ').Contains("STARTTLS"))
            return required ? new HealthEvent.DialogFailed("TLS: the mail server does not offer STARTTLS") : new HealthEvent.CheckSucceeded(announced);
        if (await dialog.StartTlsAsync(server, announced) is { } secured)
            return new HealthEvent.CheckSucceeded(secured);
        return required ? new HealthEvent.DialogFailed($"TLS: {dialog.WhyNoTls}") : new HealthEvent.CheckSucceeded(announced with { Tls = "failed" });
    }

    /// <summary>Connects to the first address that answers, in the order of the resolver; all of them together have the timeout.</summary>
    private async Task<(Socket? Socket, string Error)> ConnectAsync(MailServer server, CancellationToken cancellation)
    {
        IPAddress[] addresses;
        try
        {
            addresses = IPAddress.TryParse(server.Host, out IPAddress? literal)
                ? [literal]
                : await Dns.GetHostAddressesAsync(server.Host, cancellation).WaitAsync(timeout, time, cancellation);
        }
        catch (SocketException e)
        {
            return (null, e.Message);
        }
        catch (TimeoutException)
        {
            return (null, "looking up the name timed out");
        }
        string error = "the name has no address";
        IPAddress? source = IPAddress.TryParse(server.SourceAddress, out IPAddress? own) ? own : null;
        foreach (IPAddress address in addresses.Where(address => source is null || source.AddressFamily == address.AddressFamily))
        {
            (Socket? socket, error) = await ConnectAsync(source, new IPEndPoint(address, server.Port), timeout / addresses.Length, cancellation);
            if (socket is not null)
                return (socket, "");
        }
        return (null, error);
    }

    private async Task<(Socket? Socket, string Error)> ConnectAsync(IPAddress? source, IPEndPoint address, TimeSpan limit, CancellationToken cancellation)
    {
        Socket? socket = null;
        try
        {
            socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            if (source is not null)
                socket.Bind(new IPEndPoint(source, 0));
            // A connect that is given up here ends with its socket.
            await socket.ConnectAsync(address, cancellation).AsTask().WaitAsync(limit, time, cancellation);
            return (socket, "");
        }
        catch (Exception e) when (e is SocketException or TimeoutException)
        {
            socket?.Dispose();
            return (null, e is SocketException ? e.Message : "connecting timed out");
        }
        catch
        {
            socket?.Dispose();
            throw;
        }
    }
}
