using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// The certificates of the [[certificate]] entries, chosen by SNI (RFC 6066 3): the entry whose certificate has the name, the first one
/// for any other. Their files are looked at again when a second has gone since the last look; what cannot be loaded leaves the old one.
/// </summary>
internal sealed class CertificateStore(Func<Admission> admission, MailLog log, TimeProvider time)
{
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private volatile Entry[] _entries = [];
    private IReadOnlyList<CertificateSettings>? _settings;
    private bool _asksForCertificates;
    private long _looked;

    /// <summary>Null: there is no certificate that can be used. Does not wait for anything but the file system.</summary>
    public SslServerAuthenticationOptions? Options => For(null);

    public ValueTask<SslServerAuthenticationOptions> ForAsync(string? serverName) =>
        new(For(serverName) ?? throw new AuthenticationException("no certificate"));

    private SslServerAuthenticationOptions? For(string? serverName)
    {
        Refresh();
        Entry[] entries = _entries;
        if (!string.IsNullOrEmpty(serverName))
        {
            foreach (Entry entry in entries)
            {
                if (entry.Options is not null && Has(entry.Leaf!, serverName))
                    return entry.Options;
            }
        }
        return entries.FirstOrDefault(entry => entry.Options is not null)?.Options;
    }

    // The client chooses the octets of the name; the platform throws for what no host can be called.
    private static bool Has(X509Certificate2 leaf, string serverName)
    {
        try
        {
            return leaf.MatchesHostname(serverName, allowWildcards: true, allowCommonName: false);
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private void Refresh()
    {
        Admission now = admission();
        IReadOnlyList<CertificateSettings> settings = now.Settings.Certificates;
        bool changed = !ReferenceEquals(settings, _settings) || now.AsksForCertificates != _asksForCertificates;
        if (!changed && time.GetElapsedTime(Volatile.Read(ref _looked)) < LookAgain)
            return;
        lock (_gate)
        {
            Entry[] before = _entries;
            if (now.AsksForCertificates != _asksForCertificates)
                before = [];
            _asksForCertificates = now.AsksForCertificates;
            _entries = [.. settings.Select(entry => Load(entry, before.FirstOrDefault(old => old.Settings == entry)))];
            _settings = settings;
            Volatile.Write(ref _looked, time.GetTimestamp());
        }
    }

    // Of both files: when a key comes after its certificate, the second look finds the pair.
    private Entry Load(CertificateSettings settings, Entry? before)
    {
        string stamp = $"{FileStamp.Of(settings.File)} {FileStamp.Of(settings.Key)}";
        if (before is not null && string.Equals(stamp, before.Stamp, StringComparison.Ordinal))
            return before;
        try
        {
            PemCertificate pem = PemCertificate.Load(settings);
            var options = new SslServerAuthenticationOptions
            {
                EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                ServerCertificateContext = SslStreamCertificateContext.Create(pem.Leaf, pem.Others, offline: true),
                ClientCertificateRequired = _asksForCertificates,
#pragma warning disable CA5359 // any client certificate is taken: only its fingerprint gives a right
                RemoteCertificateValidationCallback = static (_, _, _, _) => true,
#pragma warning restore CA5359
                CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
                AllowRenegotiation = false,
            };
            log.CertificateLoaded(settings.File, new DateTimeOffset(pem.Leaf.NotAfter.ToUniversalTime(), TimeSpan.Zero));
            return new Entry(settings, stamp, pem.Leaf, options);
        }
        catch (Exception e) when (e is CertificateException or UnauthorizedAccessException)
        {
            log.CertificateBad(settings.File, e.Message);
            return new Entry(settings, stamp, before?.Leaf, before?.Options);
        }
    }

    private sealed record Entry(CertificateSettings Settings, string Stamp, X509Certificate2? Leaf, SslServerAuthenticationOptions? Options);
}
