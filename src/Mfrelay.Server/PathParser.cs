using System.Buffers;
using System.Net.Sockets;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>What stands in the brackets of MAIL FROM or RCPT TO.</summary>
internal enum PathKind
{
    Bad,
    /// <summary>&lt;&gt;</summary>
    Null,
    /// <summary>A local part alone: &lt;postmaster&gt;.</summary>
    LocalOnly,
    Mailbox,
}

/// <summary>
/// Paths (RFC 5321 4.1.2):
/// <code>
/// path         = "&lt;" [ a-d-l ":" ] mailbox "&gt;"       a-d-l, the source route, is taken and ignored (4.1.1.3)
/// mailbox      = local-part "@" ( domain / address-literal )
/// local-part   = dot-string / quoted-string
/// </code>
/// Octets above 127 are UTF-8 (RFC 6531 3.3). One tolerance: dots at the ends of a dot-string and runs of dots are taken, because Japanese
/// mobile carriers gave out such addresses and people still have them.
/// </summary>
internal static class PathParser
{
    /// <summary>Octets of a local part: more than the 64 of RFC 5321 4.5.3.1.1, since list software writes longer ones.</summary>
    public const int MaxLocalPart = 255;

    /// <summary>RFC 5321 4.5.3.1.2.</summary>
    public const int MaxDomain = 255;

    private static readonly SearchValues<byte> AtomOctets =
        SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~."u8);

    /// <summary>Reads a path at the start of the input.</summary>
    /// <param name="length">Octets taken, brackets included.</param>
    /// <param name="address">Without brackets and source route; a quoted local part keeps its quotes. Null for a bad path.</param>
    public static PathKind Parse(ReadOnlySpan<byte> input, out int length, out ReadOnlySpan<byte> address)
    {
        length = 0;
        address = default;
        if (input.Length < 2 || input[0] != '<')
            return PathKind.Bad;
        if (input[1] == '>')
        {
            length = 2;
            return PathKind.Null;
        }
        int start = 1;
        if (input[1] == '@' && !SkipSourceRoute(input, ref start))
            return PathKind.Bad;

        int i = start;
        if (!SkipLocalPart(input, ref i) || i >= input.Length)
            return PathKind.Bad;
        PathKind kind = PathKind.LocalOnly;
        if (input[i] == '@')
        {
            kind = PathKind.Mailbox;
            int end = input[(++i)..].IndexOf((byte)'>');
            if (end < 0 || !IsDomain(input.Slice(i, end)))
                return PathKind.Bad;
            i += end;
        }
        if (input[i] != '>')
            return PathKind.Bad;
        address = input[start..i];
        length = i + 1;
        return kind;
    }

    /// <summary>A domain or an address literal.</summary>
    public static bool IsDomain(ReadOnlySpan<byte> domain)
    {
        if (domain.IsEmpty || domain.Length > MaxDomain)
            return false;
        if (domain[0] == '[')
            return IsAddressLiteral(domain);
        int label = 0;
        for (int i = 0; i <= domain.Length; i++)
        {
            byte b = i < domain.Length ? domain[i] : (byte)'.';
            if (b == '.')
            {
                // One dot at the end (a fully qualified name) is common and harmless.
                bool lastDot = i == domain.Length && label == 0 && i > 1;
                if ((label == 0 && !lastDot) || label > 63)
                    return false;
                label = 0;
            }
            else if (char.IsAsciiLetterOrDigit((char)b) || b is (byte)'-' or (byte)'_' || b >= 0x80)
            {
                label++;
            }
            else
            {
                return false;
            }
        }
        return true;
    }

    private static bool IsAddressLiteral(ReadOnlySpan<byte> literal)
    {
        if (literal[^1] != ']')
            return false;
        string inside = Encoding.ASCII.GetString(literal[1..^1]);
        bool tagged = inside.StartsWith("IPv6:", StringComparison.OrdinalIgnoreCase);
        // The platform also reads "0x7f.0.0.1", "[::1]:25" and "fe80::1%eth0".
        return HostName.ParseAddress(tagged ? inside.AsSpan(5) : inside) is { } address
            && address.AddressFamily == (tagged ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork)
            && !inside.Contains('%', StringComparison.Ordinal);
    }

    // a-d-l = "@" domain *( "," "@" domain ); an address literal may have colons of its own.
    private static bool SkipSourceRoute(ReadOnlySpan<byte> input, ref int i)
    {
        while (i + 1 < input.Length && input[i] == '@')
        {
            ReadOnlySpan<byte> rest = input[(i + 1)..];
            int length = rest[0] == '[' ? rest.IndexOf((byte)']') + 1 : rest.IndexOfAny((byte)',', (byte)':');
            if (length <= 0 || length == rest.Length || !IsDomain(rest[..length]))
                return false;
            i += length + 2;
            if (rest[length] == ':')
                return true;
            if (rest[length] != ',')
                return false;
        }
        return false;
    }

    private static bool SkipLocalPart(ReadOnlySpan<byte> input, ref int i)
    {
        int start = i;
        if (i < input.Length && input[i] == '"')
        {
            for (i++; i < input.Length && input[i] != '"'; i++)
            {
                if (input[i] == '\\')
                    i++;
                if (i >= input.Length || input[i] < ' ' || input[i] == 0x7F)
                    return false;
            }
            i++;
        }
        else
        {
            while (i < input.Length && (AtomOctets.Contains(input[i]) || input[i] >= 0x80))
                i++;
        }
        return i > start && i - start <= MaxLocalPart && i <= input.Length;
    }
}
