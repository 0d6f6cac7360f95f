using System.Net;
using System.Net.Sockets;
using Mfrelay.Core;

namespace Mfrelay;

/// <summary>
/// One check of a mail server (S2): connect, greeting, EHLO (HELO where that is refused), STARTTLS where it is offered, QUIT. It costs the
/// other side little and sends no mail. Compiled into the server, which checks by it, and the command, which shows its steps.
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
        ProbeReply greeting = await dialog.ReadAsync();
        if (greeting.Code != 220)
            return new HealthEvent.DialogFailed($"greeting: {greeting}");
        ProbeReply hello = await dialog.AskAsync($"EHLO {hostName}");
        if (hello.Class == 5) // RFC 5321 3.2: a server of RFC 821
        {
            hello = await dialog.AskAsync($"HELO {hostName}");
            return hello.Class == 2 ? new HealthEvent.CheckSucceeded(Announcement.None) : new HealthEvent.DialogFailed($"HELO: {hello}");
        }
        if (hello.Class != 2)
            return new HealthEvent.DialogFailed($"EHLO: {hello}");
        Announcement announced = hello.Announcement;
        if (announced.Extensions.Split(' ').Contains("STARTTLS"))
            announced = await dialog.StartTlsAsync(server.Host, announced);
        return new HealthEvent.CheckSucceeded(announced);
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
        foreach (IPAddress address in addresses)
        {
            (Socket? socket, error) = await ConnectAsync(new IPEndPoint(address, server.Port), timeout / addresses.Length, cancellation);
            if (socket is not null)
                return (socket, "");
        }
        return (null, error);
    }

    private async Task<(Socket? Socket, string Error)> ConnectAsync(IPEndPoint address, TimeSpan limit, CancellationToken cancellation)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            // A connect that is given up here ends with its socket.
            await socket.ConnectAsync(address, cancellation).AsTask().WaitAsync(limit, time, cancellation);
            return (socket, "");
        }
        catch (Exception e) when (e is SocketException or TimeoutException)
        {
            socket.Dispose();
            return (null, e is SocketException ? e.Message : "connecting timed out");
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
