using System.Net;

namespace Mfrelay.Core;

/// <summary>A [[listener]] table. What a profile demands, the other settings can add to and not take away.</summary>
public sealed record ListenerSettings
{
    [Setting("Its address and port", Example = "0.0.0.0:587")]
    public required IPEndPoint Address { get; init; }

    [Setting("\"inbound\" is port 25; \"submission\" (587) wants STARTTLS and AUTH, \"smtps\" (465) is TLS from the first octet and wants AUTH")]
    public ListenerProfile Profile { get; init; } = ListenerProfile.Inbound;

    [Setting("\"none\", \"starttls\", \"implicit\", or what the \"profile\" says: \"inbound\" offers STARTTLS where there is a certificate")]
    public ListenerTls Tls { get; init; } = ListenerTls.Profile;

    [Setting("No mail before TLS; always so with \"submission\" and \"smtps\"")]
    public bool RequireTls { get; init; }

    [Setting("No mail before AUTH or without a client certificate, whatever the address; always so with \"submission\" and \"smtps\"")]
    public bool RequireAuth { get; init; }

    [Setting("Offer AUTH where there is a users_file")]
    public bool Auth { get; init; } = true;

    [Setting("Each connection begins with a PROXY header, version 1 or 2, from one of server.proxy_from; others are closed")]
    public bool ProxyProtocol { get; init; }

    internal bool IsForUsers => Profile is ListenerProfile.Submission or ListenerProfile.Smtps;
}

/// <summary>A [[certificate]] table.</summary>
public sealed record CertificateSettings
{
    [Setting("PEM file: the certificate, and those between it and its root behind it", Form = SettingForm.AbsolutePath, Example = "/etc/mfrelay/tls/cert.pem")]
    public required string File { get; init; }

    [Setting("PEM file: its private key, without a password", Form = SettingForm.AbsolutePath, Example = "/etc/mfrelay/tls/key.pem")]
    public required string Key { get; init; }
}

public enum ListenerProfile
{
    /// <summary>RFC 5321: mail from other servers.</summary>
    Inbound,

    /// <summary>RFC 6409.</summary>
    Submission,

    /// <summary>RFC 8314 3.3.</summary>
    Smtps,
}

public enum ListenerTls
{
    Profile,
    None,
    Starttls,
    Implicit,
}
