using System.Buffers.Text;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>STARTTLS (RFC 3207), AUTH (RFC 4954), and XCLIENT of trusted clients.</summary>
internal sealed partial class SmtpSession
{
    private AuthExchange? _exchange;
    private int _authFailures;

    /// <summary>What the pump is to find true or not after <see cref="Next.Authenticate"/>.</summary>
    public AuthClaim? Claim { get; private set; }

    /// <summary>False when this client has failed too often lately.</summary>
    public Func<bool>? MayAuthenticate { get; set; }

    /// <summary>Null when who they are cannot be told now.</summary>
    public Func<UserTable?> Users { get; set; } = static () => UserTable.Empty;

    public Func<string> NewNonce { get; init; } = static () => Convert.ToBase64String(RandomNumberGenerator.GetBytes(18));

    /// <summary>A line of base64 may come that is longer than commands are (RFC 4954 4).</summary>
    public bool TakesLongLine(ReadOnlySpan<byte> start) =>
        _exchange is not null || (Ascii.EqualsIgnoreCase(start[..Math.Min(5, start.Length)], "AUTH "u8) && OffersAuth);

    /// <summary>The next line belongs to AUTH and is no command.</summary>
    public bool IsInExchange => _exchange is not null;

    private bool OffersAuth => Policy.OffersAuth && (Peer.IsTls || Limits.AuthWithoutTls);

    /// <summary>RFC 3207 4.2: nothing that was said before counts any more.</summary>
    public void TlsStarted(bool isCertified)
    {
        (Peer.IsTls, Peer.IsCertified, Peer.User) = (true, isCertified, null);
        Forget();
    }

    /// <summary>After <see cref="Next.Authenticate"/>.</summary>
    public Step EndOfAuth(bool isUser)
    {
        AuthClaim claim = Claim!;
        Claim = null;
        if (isUser)
        {
            Peer.User = claim.Name;
            return new Step(Replies.Authenticated);
        }
        return ++_authFailures >= Limits.MaxAuthFailures ? new Step(Replies.TooManyAuthFailures, Next.Close) : Judge(new Step(Replies.AuthFailed));
    }

    private void Forget()
    {
        (HeloName, _extended, _exchange) = ("", false, null);
        Transaction = null;
    }

    private Step StartTls(ReadOnlySpan<byte> argument)
    {
        if (Peer.IsTls)
            return new Step(Replies.AlreadyTls);
        if (Policy.Tls != ListenerTls.Starttls)
            return new Step(Replies.NotImplemented);
        return argument.IsEmpty ? new Step(Replies.ReadyForTls, Next.StartTls) : new Step(Replies.NoArgument);
    }

    private Step Auth(ReadOnlySpan<byte> argument)
    {
        if (!Policy.OffersAuth)
            return new Step(Replies.NotImplemented);
        if (!OffersAuth)
            return new Step(Replies.AuthNeedsTls);
        if (!_extended)
            return new Step(Replies.HelloFirst);
        if (Peer.User is not null)
            return new Step(Replies.AlreadyAuthenticated);
        if (Transaction is not null)
            return new Step(Replies.AuthInsideMail);
        int space = argument.IndexOf((byte)' ');
        ReadOnlySpan<byte> name = space < 0 ? argument : argument[..space];
        ReadOnlySpan<byte> initial = space < 0 ? default : argument[space..].Trim((byte)' ');
        string? mechanism = Ascii.EqualsIgnoreCase(name, "PLAIN"u8) ? AuthExchange.Plain
            : Ascii.EqualsIgnoreCase(name, "LOGIN"u8) ? AuthExchange.Login
            : Ascii.EqualsIgnoreCase(name, "SCRAM-SHA-256"u8) ? ScramCredential.Mechanism : null;
        if (mechanism is null)
            return new Step(name.IsEmpty ? Replies.BadAuth : Replies.UnknownMechanism);
        if (MayAuthenticate?.Invoke() == false)
            return new Step(Replies.AuthBlocked);
        if (Users() is not { } users)
            return new Step(Replies.AuthUnavailable);
        _exchange = new AuthExchange(mechanism, users, NewNonce);
        if (initial.IsEmpty)
            return new Step(Replies.Challenge(_exchange.FirstChallenge));
        return AuthLine(initial.SequenceEqual("="u8) ? default : initial);
    }

    /// <summary>A line inside an exchange: base64, or "*" to give up.</summary>
    private Step AuthLine(ReadOnlySpan<byte> line)
    {
        AuthExchange exchange = _exchange!;
        _exchange = null;
        if (line.SequenceEqual("*"u8))
            return new Step(Replies.AuthCancelled);
        byte[] decoded = new byte[Base64.GetMaxDecodedFromUtf8Length(line.Length)];
        // No blanks inside: the platform would skip them.
        if (line.ContainsAnyInRange((byte)0, (byte)32)
            || Base64.DecodeFromUtf8(line, decoded, out _, out int length) != System.Buffers.OperationStatus.Done)
            return new Step(Replies.BadAuth);
        AuthMove move = exchange.Take(decoded.AsSpan(0, length));
        CryptographicOperations.ZeroMemory(decoded);
        if (move.Challenge is not null)
        {
            _exchange = exchange;
            return new Step(Replies.Challenge(move.Challenge));
        }
        if (move.Claim is null)
            return new Step(Replies.BadAuth);
        Claim = move.Claim;
        return new Step(Replies.AuthFailed, Next.Authenticate);
    }

    /// <summary>XCLIENT *( SP name "=" xtext ): who the client's client is. Answered as a new connection would be.</summary>
    private Step Xclient(ReadOnlySpan<byte> argument)
    {
        if (!Admission.MayXclient(Peer.Origin))
            return new Step(Replies.UnknownCommand);
        if (Transaction is not null)
            return new Step(Replies.XclientInsideMail);
        IPAddress? address = null;
        int attributes = 0;
        while (NextParameter(ref argument, out ReadOnlySpan<byte> key, out ReadOnlySpan<byte> value, out bool hasValue))
        {
            attributes++;
            bool ok = Ascii.EqualsIgnoreCase(key, "ADDR"u8) ? address is null && (address = AddressOf(value)) is not null
                : Ascii.EqualsIgnoreCase(key, "PORT"u8) ? IsUnavailable(value) || ushort.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out _)
                : Ascii.EqualsIgnoreCase(key, "NAME"u8);
            if (!ok || !hasValue)
                return new Step(Replies.BadXclient);
        }
        if (attributes == 0)
            return new Step(Replies.BadXclient);
        if (address is not null)
            Peer.Address = address;
        (Peer.User, Peer.IsCertified) = (null, false);
        Forget();
        return new Step(Admission.Greeting, Next.ClientChanged);
    }

    // An unknown client is one that no network has.
    private static IPAddress? AddressOf(ReadOnlySpan<byte> value)
    {
        if (IsUnavailable(value))
            return IPAddress.None;
        string text = Encoding.Latin1.GetString(value);
        bool six = text.StartsWith("IPV6:", StringComparison.OrdinalIgnoreCase);
        return HostName.ParseAddress(six ? text.AsSpan(5) : text) is { } address
            && (address.AddressFamily == AddressFamily.InterNetworkV6) == six && !text.Contains('%', StringComparison.Ordinal)
            ? HostName.Plain(address)
            : null;
    }

    private static bool IsUnavailable(ReadOnlySpan<byte> value) =>
        Ascii.EqualsIgnoreCase(value, "[UNAVAILABLE]"u8) || Ascii.EqualsIgnoreCase(value, "[TEMPUNAVAIL]"u8);
}
