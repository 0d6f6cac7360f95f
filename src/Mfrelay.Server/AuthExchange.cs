using System.Security.Cryptography;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>What a client has claimed at the end of an exchange, to be found true or not.</summary>
/// <param name="Password">Of PLAIN and LOGIN; the checker clears it.</param>
/// <param name="IsProven">SCRAM: the proof was right.</param>
internal sealed record AuthClaim(string Mechanism, string Name, byte[]? Password, bool IsProven)
{
    public override string ToString() => Mechanism;
}

/// <summary>The server's next word: one of a challenge, a claim, or neither for a message that is no good.</summary>
internal readonly record struct AuthMove(byte[]? Challenge = null, AuthClaim? Claim = null);

/// <summary>
/// One SASL exchange, octets in, octets out, base64 being somebody else's: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login),
/// SCRAM-SHA-256 (RFC 5802, 7677). A name that is not there gets the same dialog as one that is, with a salt that stays the same.
/// </summary>
internal sealed class AuthExchange(string mechanism, UserTable users, Func<string> newNonce)
{
    public const string Plain = "PLAIN";
    public const string Login = "LOGIN";

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private int _received;
    private string _name = "";
    private string _header = "";
    private string _firstBare = "";
    private string _serverFirst = "";
    private string _nonce = "";
    private bool _proven;
    private ScramCredential? _credential;

    public string Mechanism { get; } = mechanism;

    /// <summary>What a client hears that sent no initial response.</summary>
    public byte[] FirstChallenge { get; } = mechanism is Login ? "Username:"u8.ToArray() : [];

    public AuthMove Take(ReadOnlySpan<byte> message)
    {
        try
        {
            return (Mechanism, _received++) switch
            {
                (Plain, _) => TakePlain(message),
                (Login, 0) => TakeName(message),
                (Login, _) => new AuthMove(Claim: new AuthClaim(Login, _name, message.ToArray(), false)),
                (_, 0) => TakeClientFirst(StrictUtf8.GetString(message)),
                (_, 1) => TakeClientFinal(StrictUtf8.GetString(message)),
                // RFC 5802 5, 4954 4: the server's signature went as a challenge, so an empty response ends it.
                _ => message.IsEmpty ? Claim(_proven) : default,
            };
        }
        catch (DecoderFallbackException)
        {
            return default;
        }
    }

    /// <summary>The keys of a user, or those of nobody, which fit no password.</summary>
    public static ScramCredential CredentialOf(UserTable users, string name)
    {
        if (users.Find(name) is { } found)
            return found;
        return new ScramCredential(users.UsualIterations, users.SaltOf(name), RandomNumberGenerator.GetBytes(32), RandomNumberGenerator.GetBytes(32));
    }

    // [authzid] NUL authcid NUL passwd: acting for somebody else is not offered.
    private static AuthMove TakePlain(ReadOnlySpan<byte> message)
    {
        int first = message.IndexOf((byte)0);
        int second = first < 0 ? -1 : message[(first + 1)..].IndexOf((byte)0);
        if (second < 0 || message[(first + second + 2)..].Contains((byte)0))
            return default;
        string actsFor = StrictUtf8.GetString(message[..first]);
        string name = StrictUtf8.GetString(message.Slice(first + 1, second));
        if (actsFor.Length > 0 && !string.Equals(actsFor, name, StringComparison.Ordinal))
            return default;
        return new AuthMove(Claim: new AuthClaim(Plain, name, message[(first + second + 2)..].ToArray(), false));
    }

    private AuthMove TakeName(ReadOnlySpan<byte> message)
    {
        _name = StrictUtf8.GetString(message);
        return new AuthMove("Password:"u8.ToArray());
    }

    // gs2-header "n=" name ",r=" nonce; gs2-header = ("n" / "y") "," [ "a=" name ] ","
    private AuthMove TakeClientFirst(string message)
    {
        string[] parts = message.Split(',');
        if (parts.Length < 4 || parts[0] is not ("n" or "y") || !parts[2].StartsWith("n=", StringComparison.Ordinal)
            || !parts[3].StartsWith("r=", StringComparison.Ordinal) || parts[3].Length < 10)
            return default; // "p=": channel binding, which is not offered; "m=": an extension that must be refused
        _name = parts[2][2..].Replace("=2C", ",", StringComparison.Ordinal).Replace("=3D", "=", StringComparison.Ordinal);
        if (parts[1].Length > 0 && !string.Equals(parts[1], $"a={parts[2][2..]}", StringComparison.Ordinal))
            return default;
        _header = $"{parts[0]},{parts[1]},";
        _firstBare = message[_header.Length..];
        _nonce = parts[3][2..] + newNonce();
        _credential = CredentialOf(users, _name);
        _serverFirst = string.Create(System.Globalization.CultureInfo.InvariantCulture,
            $"r={_nonce},s={Convert.ToBase64String(_credential.Salt)},i={_credential.Iterations}");
        return new AuthMove(Encoding.UTF8.GetBytes(_serverFirst));
    }

    // "c=" base64(gs2-header) ",r=" nonce ",p=" proof
    private AuthMove TakeClientFinal(string message)
    {
        int proofAt = message.LastIndexOf(",p=", StringComparison.Ordinal);
        if (proofAt < 0)
            return default;
        string withoutProof = message[..proofAt];
        Span<byte> proof = stackalloc byte[64];
        string expected = $"c={Convert.ToBase64String(Encoding.UTF8.GetBytes(_header))},r={_nonce}";
        if (!string.Equals(withoutProof, expected, StringComparison.Ordinal) || !Convert.TryFromBase64String(message[(proofAt + 3)..], proof, out int length))
            return default;
        string authMessage = $"{_firstBare},{_serverFirst},{withoutProof}";
        _proven = _credential!.IsProof(proof[..length], authMessage) && users.Find(_name) is not null;
        return _proven ? new AuthMove(Encoding.UTF8.GetBytes($"v={_credential.ServerSignature(authMessage)}")) : Claim(proven: false);
    }

    private AuthMove Claim(bool proven) => new(Claim: new AuthClaim(Mechanism, _name, null, proven));
}
