using System.Net;

namespace Mfrelay.Core;

/// <summary>What must fit together in the TLS and login settings of one mail server, and be readable.</summary>
/// <param name="report">Takes the key of the setting at fault, and what is wrong.</param>
internal sealed class SecurityChecks(MailServer server, Action<string, string> report, bool portGiven)
{
    public void Run()
    {
        CheckTls();
        CheckFiles();
        CheckLogin();
    }

    private void CheckTls()
    {
        if (server.Tls == TlsMode.Implicit && !portGiven)
            report("tls", "\"implicit\" is not what port 25 speaks; write port = 465 or another, or tls = \"required\"");
        if (server.Tls == TlsMode.Implicit && server.IsMx)
            report("tls", "\"implicit\" does not go with host = \"mx\", whose mail servers all listen on port 25; write \"required\" or \"opportunistic\"");
        if (server.Tls is TlsMode.None or TlsMode.Opportunistic)
        {
            string unused = $"with tls = \"{(server.Tls == TlsMode.None ? "none" : "opportunistic")}\" no certificate is verified; write tls = \"required\" or \"implicit\", or take this away";
            if (server.TlsCaFile.Length > 0)
                report("tls_ca_file", unused);
            if (server.TlsFingerprint.Count > 0)
                report("tls_fingerprint", unused);
        }
        if (server.Tls == TlsMode.None && server.TlsMinVersion != TlsVersion.Tls12)
            report("tls_min_version", "with tls = \"none\" there is no TLS; take this away");
        if (server.Tls == TlsMode.None && server.TlsClientCertificate.Length > 0)
            report("tls_client_certificate", "with tls = \"none\" there is no TLS; take this away");
        if (server.TlsCaFile.Length > 0 && server.TlsFingerprint.Count > 0)
            report("tls_ca_file", "where fingerprints are given they alone count; take away one of the two");
        if (server.IsMx && server.TlsFingerprint.Count > 0)
            report("tls_fingerprint", "host = \"mx\" is many mail servers with many certificates; take this away");
        if (server.TlsClientKey.Length > 0 && server.TlsClientCertificate.Length == 0)
            report("tls_client_key", "a key without tls_client_certificate; write that too");
        foreach (string bad in server.TlsFingerprint.Where(text => TlsFiles.ParseFingerprint(text) is null))
            report("tls_fingerprint", $"\"{bad}\" is no SHA-256 fingerprint; write 64 hexadecimal digits (openssl x509 -noout -fingerprint -sha256 -in FILE)");
    }

    private void CheckFiles()
    {
        if (server.TlsCaFile.Length > 0 && !TlsFiles.TryReadAuthorities(server.TlsCaFile, out _, out string error))
            report("tls_ca_file", error);
        if (server.TlsClientCertificate.Length > 0)
        {
            if (TlsFiles.TryReadCertificate(server.TlsClientCertificate, server.TlsClientKey, out TlsFiles.OwnCertificate? own, out error))
                own!.Dispose();
            else
                report("tls_client_certificate", error);
        }
    }

    private void CheckLogin()
    {
        bool secretGiven = server.AuthSecretFile.Length > 0 || server.AuthCredential.Length > 0;
        if (server.Auth == AuthMethod.None)
        {
            if (server.AuthUser.Length > 0)
                report("auth_user", "a user without a way to log in; write auth = \"plain\" or the like");
            if (secretGiven)
                report(server.AuthSecretFile.Length > 0 ? "auth_secret_file" : "auth_credential", "a secret without a way to log in; write auth = \"plain\" or the like");
            return;
        }
        if (server.IsMx)
            report("auth", "host = \"mx\" is many mail servers, all of which would be told the secret; take this away");
        if (server.AuthUser.Length == 0)
            report("auth", "there is nobody to log in as; write auth_user");
        if (!secretGiven)
            report("auth", "there is nothing to log in with; write auth_secret_file or auth_credential");
        if (server.AuthSecretFile.Length > 0 && server.AuthCredential.Length > 0)
            report("auth_credential", "the secret is there twice; take away this or auth_secret_file");
        bool readable = server.Auth is AuthMethod.Plain or AuthMethod.Login or AuthMethod.Xoauth2;
        bool local = IPAddress.TryParse(server.Host, out IPAddress? address) && IPAddress.IsLoopback(address);
        if (readable && server.Tls is TlsMode.None or TlsMode.Opportunistic && !local)
            report("auth", "this sends the secret so that whoever listens can read it; write tls = \"required\" or \"implicit\"");
        if (server.AuthSecretFile.Length > 0 && !LoginSecret.TryRead(server.AuthSecretFile, out _, out string error))
            report("auth_secret_file", error);
        if (server.AuthCredential.Length > 0 && (server.AuthCredential.Contains('/', StringComparison.Ordinal) || server.AuthCredential is "." or ".."))
            report("auth_credential", "the name of a credential has no \"/\"; a file is named by auth_secret_file");
    }
}

/// <summary>Reads the secret of a login. Its octets get into no log, error or exception.</summary>
public static class LoginSecret
{
    private const int MaxLength = 16 * 1024;

    /// <summary>
    /// The secret of a mail server: of its file, or of the credential in $CREDENTIALS_DIRECTORY, which only the process that logs in has.
    /// </summary>
    public static bool TryReadOf(MailServer server, out string secret, out string error)
    {
        if (server.AuthSecretFile.Length > 0)
            return TryRead(server.AuthSecretFile, out secret, out error);
        secret = "";
        string? directory = Environment.GetEnvironmentVariable("CREDENTIALS_DIRECTORY");
        error = "the service has no credentials ($CREDENTIALS_DIRECTORY is not set)";
        return directory is not null && TryRead(Path.Join(directory, server.AuthCredential), out secret, out error);
    }

    /// <summary>The first line of a file.</summary>
    public static bool TryRead(string file, out string secret, out string error)
    {
        secret = error = "";
        try
        {
            using StreamReader reader = File.OpenText(file);
            char[] text = new char[MaxLength];
            int length = reader.ReadBlock(text);
            int end = text.AsSpan(0, length).IndexOfAny('\r', '\n');
            secret = new string(text, 0, end < 0 ? length : end);
            if (secret.Length is 0 or MaxLength || secret.Any(char.IsControl))
                error = $"{file}: the first line must be the secret: not empty, at most {MaxLength} characters, no control characters";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            error = $"{file}: {(e is UnauthorizedAccessException ? "no permission to read it" : e is FileNotFoundException or DirectoryNotFoundException ? "no such file" : e.Message)}";
        }
        if (error.Length > 0)
            secret = "";
        return error.Length == 0;
    }
}
