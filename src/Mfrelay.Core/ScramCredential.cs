using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Mfrelay.Core;

/// <summary>
/// What is kept of a password (RFC 5802 3, RFC 7677): salt, iterations, and two keys from which neither the password nor what a client
/// sends can be computed. PLAIN and LOGIN are checked against the same keys. Written as
/// <c>SCRAM-SHA-256$iterations:salt$stored-key:server-key</c>, in base64.
/// </summary>
public sealed record ScramCredential(int Iterations, byte[] Salt, byte[] StoredKey, byte[] ServerKey)
{
    public const string Mechanism = "SCRAM-SHA-256";

    /// <summary>About 25 ms on a server of today: for whoever steals the file, and for the server at each PLAIN.</summary>
    public const int DefaultIterations = 100_000;

    public const int LeastIterations = 4096; // RFC 7677 4
    public const int MostIterations = 2_000_000;

    internal const int SaltLength = 16;

    public static ScramCredential Of(ReadOnlySpan<byte> password, int iterations = DefaultIterations) =>
        Of(password, RandomNumberGenerator.GetBytes(SaltLength), iterations);

    public static ScramCredential Of(ReadOnlySpan<byte> password, byte[] salt, int iterations)
    {
        byte[] salted = Rfc2898DeriveBytes.Pbkdf2(password, salt, iterations, HashAlgorithmName.SHA256, 32);
        byte[] clientKey = HMACSHA256.HashData(salted, "Client Key"u8);
        byte[] serverKey = HMACSHA256.HashData(salted, "Server Key"u8);
        var credential = new ScramCredential(iterations, salt, SHA256.HashData(clientKey), serverKey);
        CryptographicOperations.ZeroMemory(salted);
        CryptographicOperations.ZeroMemory(clientKey);
        return credential;
    }

    /// <summary>Takes as long for a wrong password as for the right one.</summary>
    public bool IsPassword(ReadOnlySpan<byte> password)
    {
        ScramCredential other = Of(password, Salt, Iterations);
        return CryptographicOperations.FixedTimeEquals(other.StoredKey, StoredKey);
    }

    /// <summary>The client's proof over the messages of the exchange (RFC 5802 3).</summary>
    public bool IsProof(ReadOnlySpan<byte> proof, string authMessage)
    {
        byte[] signature = HMACSHA256.HashData(StoredKey, Encoding.UTF8.GetBytes(authMessage));
        if (proof.Length != signature.Length)
            return false;
        for (int i = 0; i < signature.Length; i++)
            signature[i] ^= proof[i];
        return CryptographicOperations.FixedTimeEquals(SHA256.HashData(signature), StoredKey);
    }

    public string ServerSignature(string authMessage) => Convert.ToBase64String(HMACSHA256.HashData(ServerKey, Encoding.UTF8.GetBytes(authMessage)));

    /// <summary>Null for a text that is none.</summary>
    public static ScramCredential? Parse(string text)
    {
        string[] parts = text.Split('$');
        if (parts.Length != 3 || !string.Equals(parts[0], Mechanism, StringComparison.Ordinal))
            return null;
        string[] salt = parts[1].Split(':');
        string[] keys = parts[2].Split(':');
        if (salt.Length != 2 || keys.Length != 2 || !int.TryParse(salt[0], NumberStyles.None, CultureInfo.InvariantCulture, out int iterations)
            || iterations is < LeastIterations or > MostIterations)
            return null;
        try
        {
            var credential = new ScramCredential(iterations, Convert.FromBase64String(salt[1]), Convert.FromBase64String(keys[0]), Convert.FromBase64String(keys[1]));
            return credential is { Salt.Length: >= 8, StoredKey.Length: 32, ServerKey.Length: 32 } ? credential : null;
        }
        catch (FormatException)
        {
            return null;
        }
    }

    /// <summary>The line's right half; there is nothing secret in what <see cref="ToString"/> gives.</summary>
    public string Text() => string.Create(CultureInfo.InvariantCulture,
        $"{Mechanism}${Iterations}:{Convert.ToBase64String(Salt)}${Convert.ToBase64String(StoredKey)}:{Convert.ToBase64String(ServerKey)}");

    public override string ToString() => Mechanism;
}
