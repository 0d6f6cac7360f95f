using System.Net;
using System.Net.Sockets;

namespace Mfrelay.Core;

/// <summary>Which texts are names and addresses of hosts.</summary>
internal static class HostName
{
    /// <summary>Most octets of a domain (RFC 1035 2.3.4, without the length octets).</summary>
    private const int MaxName = 253;

    private const int MaxLabel = 63;

    /// <summary>RFC 5321 4.1.2 Domain: letters, digits, inner hyphens.</summary>
    public static bool IsDomain(ReadOnlySpan<char> name) => IsName(name, static c => char.IsAsciiLetterOrDigit(c));

    /// <summary>A domain of addresses that may come: also with U-labels (RFC 6531 3.3), and the underscore of old intranets.</summary>
    public static bool IsMailDomain(ReadOnlySpan<char> name) =>
        IsName(name, static c => char.IsAsciiLetterOrDigit(c) || c == '_' || (c >= 0x80 && !char.IsControl(c) && !char.IsWhiteSpace(c)));

    /// <summary>A name to look up; not an address, nor what looks like one ("300.1.1.1", "10.0.0.1").</summary>
    public static bool IsHost(ReadOnlySpan<char> name) =>
        IsName(name, static c => char.IsAsciiLetterOrDigit(c) || c == '_') && name[(name.LastIndexOf('.') + 1)..].ContainsAnyExceptInRange('0', '9');

    /// <summary>An address in full: not "1", "127.1" or "0x7f.1", which the platform also takes.</summary>
    public static IPAddress? ParseAddress(ReadOnlySpan<char> text) =>
        IPAddress.TryParse(text, out IPAddress? address)
        && (address.AddressFamily == AddressFamily.InterNetworkV6 ? !text.Contains('[') : text.SequenceEqual(address.ToString()))
            ? address
            : null;

    /// <summary>
    /// The machine's name, with its domain where the machine knows it: gethostname, then the canonical name that /etc/hosts or DNS has
    /// for it (what "hostname -f" prints). May wait for DNS.
    /// </summary>
    public static string OfMachine()
    {
        string name = Dns.GetHostName();
        if (name.Contains('.', StringComparison.Ordinal))
            return name;
        try
        {
            string full = Dns.GetHostEntry(name).HostName;
            return IsDomain(full) && full.Contains('.', StringComparison.Ordinal) ? full : name;
        }
        catch (SocketException)
        {
            return name;
        }
    }

    private static bool IsName(ReadOnlySpan<char> name, Func<char, bool> isLetter)
    {
        if (name.Length is 0 or > MaxName)
            return false;
        foreach (Range range in name.Split('.'))
        {
            ReadOnlySpan<char> label = name[range];
            if (label.Length is 0 or > MaxLabel || label[0] == '-' || label[^1] == '-')
                return false;
            foreach (char c in label)
            {
                if (c != '-' && !isLetter(c))
                    return false;
            }
        }
        return true;
    }

    /// <summary>An IPv4 address that was mapped into IPv6, as what it is.</summary>
    public static IPAddress Plain(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;

    /// <summary>
    /// "*.b.example" and then "*.example" for "a.b.example": what entries for all that is below a domain are called, the nearest first.
    /// </summary>
    /// <param name="domain">In: a domain, or what an earlier call left. Out: from its next dot on.</param>
    /// <returns>Null: there is no further one.</returns>
    public static string? NextAbove(ref ReadOnlySpan<char> domain)
    {
        int from = domain is ['.', ..] ? 1 : 0;
        int dot = domain[from..].IndexOf('.');
        domain = dot < 0 ? default : domain[(from + dot)..];
        return dot < 0 ? null : $"*{domain}";
    }
}
