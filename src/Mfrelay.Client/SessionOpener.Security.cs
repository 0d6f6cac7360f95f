using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using MailKit.Net.Smtp;
using MailKit.Security;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>STARTTLS and the handshake (RFC 3207, 8314), AUTH (RFC 4954).</summary>
internal sealed partial class SessionOpener
{
    private static async Task<Opening> StartTlsAsync(OpeningStream stream, SmtpCapabilities capabilities, CancellationToken cancellation)
    {
        if (!capabilities.HasFlag(SmtpCapabilities.StartTLS))
            return new Opening(null, Outcome.Of(Stage.Tls, Failure.TlsFailed, detail: "the mail server does not offer STARTTLS"));
        stream.Next = Stage.Tls;
        Reply reply = await stream.AskAsync("STARTTLS", cancellation);
        // What came behind the 220 in the clear is dropped with the stream: it must not count as said under TLS (RFC 3207 6).
        return reply.Code == 220 ? default : new Opening(null, OutcomeOf(stream, null, cancellation));
    }

    private async Task<(Wire? Wire, Outcome Failed)> SecureAsync(Socket socket, MailServer server, CancellationToken cancellation)
    {
        using TlsPolicy? policy = TlsPolicy.Of(server, out string error);
        if (policy is null)
            return (null, Outcome.Of(Stage.Tls, Failure.TlsFailed, detail: error));
        var tls = new SslStream(new NetworkStream(socket, ownsSocket: false));
        bool good = false;
        try
        {
            using CancellationTokenSource deadline = Within(settings.CommandTimeout, cancellation);
            await tls.AuthenticateAsClientAsync(policy.Options(server.Host), deadline.Token);
            good = true;
            return (new Wire(socket, tls), default);
        }
        catch (OperationCanceledException)
        {
            return (null, Outcome.Of(Stage.Tls, cancellation.IsCancellationRequested ? Failure.Cancelled : Failure.TimedOut));
        }
        catch (Exception e) when (e is System.Security.Authentication.AuthenticationException or IOException or SocketException)
        {
            return (null, Outcome.Of(Stage.Tls, Failure.TlsFailed, detail: policy.Refused ?? e.InnerException?.Message ?? e.Message));
        }
        finally
        {
            if (!good)
                await tls.DisposeAsync();
        }
    }

    /// <summary>Null when we are logged in, otherwise why not; a refusal is in the stream's last reply.</summary>
    private static async Task<string?> LogInAsync(OpeningStream stream, SmtpClient client, MailServer server, CancellationToken cancellation)
    {
        if (!LoginSecret.TryReadOf(server, out string secret, out string error))
            return error;
        SaslMechanism mechanism = server.Auth switch
        {
            AuthMethod.Plain => new SaslMechanismPlain(Encoding.UTF8, server.AuthUser, secret),
            AuthMethod.Login => new SaslMechanismLogin(Encoding.UTF8, server.AuthUser, secret),
            AuthMethod.CramMd5 => new SaslMechanismCramMd5(server.AuthUser, secret),
            AuthMethod.ScramSha256 => new SaslMechanismScramSha256(server.AuthUser, secret),
            AuthMethod.Xoauth2 => new SaslMechanismOAuth2(server.AuthUser, secret),
            AuthMethod.None => throw new ArgumentException("No login", nameof(server)),
        };
        if (!client.AuthenticationMechanisms.Contains(mechanism.MechanismName))
            return $"the mail server does not offer {mechanism.MechanismName}";
        stream.Next = Stage.Auth;
        try
        {
            await client.AuthenticateAsync(mechanism, cancellation);
            return null;
        }
        catch (Exception e) when (e is AuthenticationException or SaslException)
        {
            // Never the exception's text: it may quote what was said.
            return "the login failed";
        }
    }
}
