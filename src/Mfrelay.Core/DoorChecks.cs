using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Mfrelay.Core;

/// <summary>What must fit together for the door to be shut where it should be: listeners, certificates, users, and who may relay.</summary>
internal sealed class DoorChecks(Settings settings, ConfigBinder binder, string file, List<ConfigError> errors, List<ConfigError> warnings)
{
    // A network that no one organisation has.
    private const int WidestPrefixV4 = 8;
    private const int WidestPrefixV6 = 16;

    public void Run(bool withUsers)
    {
        CheckListeners();
        CheckCertificates();
        if (withUsers)
            CheckUsers();
        WarnOfOpenRelay();
    }

    private void CheckListeners()
    {
        for (int i = 0; i < settings.Listeners.Count; i++)
        {
            ListenerSettings listener = settings.Listeners[i];
            string path = $"listener[{i}]";
            bool wantsTls = listener.IsForUsers || listener.RequireTls || listener.Tls is ListenerTls.Starttls or ListenerTls.Implicit;
            if (wantsTls && settings.Certificates.Count == 0)
                Report(errors, path, "listener", "this listener needs TLS and there is no [[certificate]]; add one with file and key");
            if (wantsTls && listener.Tls == ListenerTls.None)
                Report(errors, $"{path}.tls", "listener.tls", "\"none\" does not go with a profile or a require_tls that wants TLS; take one of them away");
            if ((listener.IsForUsers || listener.RequireAuth) && (settings.Server.UsersFile.Length == 0 || !listener.Auth)
                && settings.Server.ClientCertificates.Count == 0)
                Report(errors, path, "listener", "nobody could send here: it needs AUTH; set server.users_file (mfrelay user add makes it), and leave auth = true");
            if (listener.ProxyProtocol && settings.Server.ProxyFrom.Count == 0)
                Report(errors, $"{path}.proxy_protocol", "listener.proxy_protocol", "whose PROXY header to believe is missing; set server.proxy_from to the balancer's address");
        }
    }

    // Whoever may not read a key can still check the rest: only mf-smtp-server needs it.
    private void CheckCertificates()
    {
        for (int i = 0; i < settings.Certificates.Count; i++)
        {
            if (settings.Certificates[i] is not { File: not null, Key: not null } entry)
                continue;
            string path = $"certificate[{i}].file";
            try
            {
                using X509Certificate2 certificate = PemCertificate.Load(entry).Leaf;
                if (certificate.NotAfter.ToUniversalTime() < TimeProvider.System.GetUtcNow().UtcDateTime)
                    Report(warnings, path, "certificate.file", $"{entry.File} has expired: clients will refuse TLS; renew it");
            }
            catch (CertificateException e) when (e.IsOfKey)
            {
                Report(errors, $"certificate[{i}].key", "certificate.key", e.Message);
            }
            catch (CertificateException e)
            {
                Report(errors, path, "certificate.file", e.Message);
            }
            catch (UnauthorizedAccessException e)
            {
                Report(warnings, path, "certificate.file", $"not checked: {e.Message}");
            }
        }
    }

    private void CheckUsers()
    {
        string users = settings.Server.UsersFile;
        if (users.Length == 0)
            return;
        try
        {
            UserTable.Parse(System.IO.File.ReadAllText(users));
        }
        catch (FormatException e)
        {
            Report(errors, "server.users_file", "server.users_file", $"{users}: {e.Message}");
        }
        catch (UnauthorizedAccessException e)
        {
            Report(warnings, "server.users_file", "server.users_file", $"not checked: {e.Message}");
        }
        catch (IOException e)
        {
            Report(errors, "server.users_file", "server.users_file", $"{e.Message}; \"mfrelay user add NAME\" makes it");
        }
        if (settings.Server.AuthWithoutTls)
            Report(warnings, "server.auth_without_tls", "server.auth_without_tls", "passwords can be read on the way by anybody between client and relay");
    }

    private void WarnOfOpenRelay()
    {
        IReadOnlyList<IPNetwork> allow = settings.Server.Allow;
        for (int i = 0; i < allow.Count; i++)
        {
            if (!IsPublic(allow[i]))
                continue;
            string reach = settings.MailServers.Any(server => server.Domain is "*") ? "to every domain: an open relay" : "to every registered domain";
            Report(warnings, $"server.allow[{i}]", "server.allow",
                $"{allow[i]} lets nearly anybody send {reach}; name your own networks, and use accept_from = \"anyone\" to take mail for your domains");
        }
    }

    private static bool IsPublic(IPNetwork network) => network.BaseAddress.AddressFamily == AddressFamily.InterNetwork
        ? network.PrefixLength < WidestPrefixV4
        : network.PrefixLength < WidestPrefixV6 && (network.PrefixLength < 7 || (network.BaseAddress.GetAddressBytes()[0] & 0xFE) != 0xFC);

    private void Report(List<ConfigError> to, string path, string key, string message)
    {
        ConfigPlace place = binder.PlaceOf(path) ?? new(file, 0);
        to.Add(new(place.File, place.Line, key, message));
    }
}

/// <summary>A certificate from PEM files, with the ones between it and its root.</summary>
internal sealed record PemCertificate(X509Certificate2 Leaf, X509Certificate2Collection Others)
{
    /// <summary>Throws <see cref="CertificateException"/>, or <see cref="UnauthorizedAccessException"/>.</summary>
    public static PemCertificate Load(CertificateSettings entry)
    {
        string pem = Read(entry.File, ofKey: false);
        string key = Read(entry.Key, ofKey: true);
        var chain = new X509Certificate2Collection();
        try
        {
            chain.ImportFromPem(pem);
        }
        catch (CryptographicException e)
        {
            throw new CertificateException($"{entry.File} is no certificate: {e.Message}", ofKey: false, e);
        }
        if (chain.Count == 0)
            throw new CertificateException($"{entry.File} has no certificate in it; a PEM file with BEGIN CERTIFICATE is needed", ofKey: false);
        try
        {
            // The first one is the server's own; CreateFromPem takes the same one, and sees whether the key belongs to it.
            var leaf = X509Certificate2.CreateFromPem(pem, key);
            chain[0].Dispose();
            chain.RemoveAt(0);
            return new PemCertificate(leaf, chain);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new CertificateException($"{entry.Key} is no private key for {entry.File}: {e.Message}", ofKey: true, e);
        }
    }

    private static string Read(string path, bool ofKey)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException e)
        {
            throw new CertificateException(e.Message, ofKey, e);
        }
    }
}

internal sealed class CertificateException(string message, bool ofKey, Exception? inner = null) : Exception(message, inner)
{
    public bool IsOfKey { get; } = ofKey;
}
