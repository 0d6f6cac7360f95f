using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Mfrelay.Core;

/// <summary>Reads what the TLS settings of a mail server name.</summary>
public static class TlsFiles
{
    /// <summary>"AB:CD:..." or "abcd...", 32 octets; null when it is none.</summary>
    public static byte[]? ParseFingerprint(string text)
    {
        string digits = text.Replace(":", "", StringComparison.Ordinal);
        return digits.Length == 64 && digits.All(char.IsAsciiHexDigit) ? Convert.FromHexString(digits) : null;
    }

    public static bool TryReadAuthorities(string file, out X509Certificate2Collection authorities, out string error)
    {
        var read = new X509Certificate2Collection();
        authorities = read;
        return TryRead(file, "certificate", () => read.ImportFromPemFile(file), () => read.Count > 0, out error);
    }

    /// <param name="keyFile">Empty: the key is in the file of the certificate.</param>
    public static bool TryReadCertificate(string file, string keyFile, out OwnCertificate? certificate, out string error)
    {
        OwnCertificate? read = null;
        bool good = TryRead(file, "certificate with its key", () =>
        {
            var chain = new X509Certificate2Collection();
            chain.ImportFromPemFile(file);
            read = new OwnCertificate(X509Certificate2.CreateFromPemFile(file, keyFile.Length > 0 ? keyFile : file), chain);
        }, () => read is not null, out error);
        certificate = read;
        return good;
    }

    private static bool TryRead(string file, string what, Action read, Func<bool> found, out string error)
    {
        error = "";
        try
        {
            read();
            if (!found())
                error = $"{file}: no {what} in PEM form in it";
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            error = $"{file}: no {what} in PEM form that can be used";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            error = $"{file}: {(e is UnauthorizedAccessException ? "no permission to read it" : e is FileNotFoundException or DirectoryNotFoundException ? "no such file" : e.Message)}";
        }
        return error.Length == 0;
    }

    /// <summary>What we show when a mail server asks who we are.</summary>
    /// <param name="Chain">The certificate itself and those of its authorities, as they stand in the file.</param>
    public sealed record OwnCertificate(X509Certificate2 Certificate, X509Certificate2Collection Chain) : IDisposable
    {
        public void Dispose()
        {
            Certificate.Dispose();
            foreach (X509Certificate2 other in Chain)
                other.Dispose();
        }
    }
}
