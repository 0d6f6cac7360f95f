using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Mfrelay.Core;

namespace Mfrelay;

/// <summary>
/// The TLS of one connection to a mail server, by its settings; made anew for each, so that a renewed file counts from the next one on.
/// <code>
/// opportunistic       any certificate: who can take STARTTLS out of the reply to EHLO needs none
/// required, implicit  one of the fingerprints where such are given; otherwise signed by tls_ca_file or an authority of the system, for the host
///                     name of the config, and not expired. Revocation is not asked for: it stalls hosts that reach only their mail servers.
/// </code>
/// </summary>
internal sealed class TlsPolicy : IDisposable
{
    private readonly MailServer _server;
    private X509Certificate2Collection? _authorities;
    private TlsFiles.OwnCertificate? _own;

    private TlsPolicy(MailServer server) => _server = server;

    /// <summary>Why the certificate was refused; null when it was not.</summary>
    public string? Refused { get; private set; }

    public string CertificateSubject { get; private set; } = "";

    /// <summary>The minimum value until a certificate was seen.</summary>
    public DateTimeOffset CertificateExpiry { get; private set; }

    /// <summary>"TLSv1.3".</summary>
    public static string NameOf(SslProtocols protocol) => protocol switch
    {
        SslProtocols.Tls12 => "TLSv1.2",
        SslProtocols.Tls13 => "TLSv1.3",
        _ => protocol.ToString(),
    };

    /// <summary>Null, with the reason, when a file that the settings name cannot be used.</summary>
    public static TlsPolicy? Of(MailServer server, out string error)
    {
        var policy = new TlsPolicy(server);
        error = "";
        if ((server.TlsCaFile.Length > 0 && !TlsFiles.TryReadAuthorities(server.TlsCaFile, out policy._authorities, out error))
            || (server.TlsClientCertificate.Length > 0
                && !TlsFiles.TryReadCertificate(server.TlsClientCertificate, server.TlsClientKey, out policy._own, out error)))
        {
            policy.Dispose();
            return null;
        }
        return policy;
    }

    /// <param name="host">The name that the certificate must be for.</param>
    public SslClientAuthenticationOptions Options(string host)
    {
        var chain = new X509ChainPolicy { RevocationMode = X509RevocationMode.NoCheck };
        if (_authorities is not null)
        {
            chain.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.CustomTrustStore.AddRange(_authorities);
        }
        return new SslClientAuthenticationOptions
        {
            TargetHost = host,
            EnabledSslProtocols = _server.TlsMinVersion == TlsVersion.Tls13 ? SslProtocols.Tls13 : SslProtocols.Tls12 | SslProtocols.Tls13,
            CertificateChainPolicy = chain,
            ClientCertificateContext = _own is null ? null : SslStreamCertificateContext.Create(_own.Certificate, _own.Chain, offline: true),
            RemoteCertificateValidationCallback = (_, certificate, built, errors) =>
            {
                Refused = WhyRefused(certificate as X509Certificate2, built, errors);
                return Refused is null;
            },
        };
    }

    public void Dispose()
    {
        _own?.Dispose();
        foreach (X509Certificate2 authority in _authorities ?? [])
            authority.Dispose();
    }

    private string? WhyRefused(X509Certificate2? certificate, X509Chain? chain, SslPolicyErrors errors)
    {
        if (certificate is not null)
            (CertificateSubject, CertificateExpiry) = (certificate.Subject, new DateTimeOffset(certificate.NotAfter));
        if (_server.Tls is TlsMode.None or TlsMode.Opportunistic)
            return null;
        if (certificate is null)
            return "there is no certificate";
        if (_server.TlsFingerprint.Count > 0)
        {
            byte[] actual = certificate.GetCertHash(HashAlgorithmName.SHA256);
            return _server.TlsFingerprint.Any(pinned => actual.AsSpan().SequenceEqual(TlsFiles.ParseFingerprint(pinned)))
                ? null
                : $"the certificate's fingerprint is {Convert.ToHexString(actual)}, which is not in tls_fingerprint";
        }
        if (errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch))
            return "the certificate is for another host";
        return errors == SslPolicyErrors.None ? null
            : $"the certificate is not trusted ({string.Join(", ", chain?.ChainStatus.Select(status => status.Status).Distinct() ?? [])})";
    }
}
