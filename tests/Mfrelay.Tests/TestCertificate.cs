using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Mfrelay.Tests;

/// <summary>A certificate of our own making, with its key, as PEM files.</summary>
internal sealed class TestCertificate : IDisposable
{
    private readonly TestDirectory _directory = new();

    public TestCertificate(params string[] names) => Renew(names);

    public string CertificateFile => Path.Combine(_directory.Path, "cert.pem");
    public string KeyFile => Path.Combine(_directory.Path, "key.pem");

    public X509Certificate2 Certificate { get; private set; } = null!;

    public string Fingerprint => Certificate.GetCertHashString(HashAlgorithmName.SHA256);

    /// <summary>Another key and certificate in the same files.</summary>
    public void Renew(params string[] names)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={names[0]}", key, HashAlgorithmName.SHA256);
        var alternatives = new SubjectAlternativeNameBuilder();
        foreach (string name in names)
            alternatives.AddDnsName(name);
        request.CertificateExtensions.Add(alternatives.Build());
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        Certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(30));
        File.WriteAllText(CertificateFile, Certificate.ExportCertificatePem());
        File.WriteAllText(KeyFile, key.ExportPkcs8PrivateKeyPem());
    }

    public void Dispose()
    {
        Certificate.Dispose();
        _directory.Dispose();
    }
}
