using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Mfrelay.Server;

namespace Mfrelay.Fuzz;

/// <summary>
/// Paths of MAIL and RCPT. Oracles: the grammar as regular expressions; the address in brackets is read as the same address; nothing behind the
/// bracket matters; names of EHLO are the same domains.
/// </summary>
internal static partial class AddressTarget
{
    private const string Domain = """(?:\[[^\]>]*\]|(?:[A-Za-z0-9_\-\u0080-\u00ff]{1,63}\.)*[A-Za-z0-9_\-\u0080-\u00ff]{1,63}\.?)""";
    private const string Local = """(?:"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"|[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.\u0080-\u00ff]+)""";

    public static FuzzTarget Target { get; } = new("address", Run, FuzzTarget.Words(
        "<", ">", "@", "<>", "\"", "\\", "\\\"", ":", ",@", "[127.0.0.1]", "[IPv6:2001:db8::1]", "[IPv6:::ffff:1.2.3.4]", ".", "..", "example.com", "postmaster",
        "ü", "例え", " ", "\0", "%", "@a,@b:", new string('a', 64), new string('b', 255)))
    { MaxLength = 600 };

    public static void Run(ReadOnlySpan<byte> input)
    {
        PathKind kind = PathParser.Parse(input, out int length, out ReadOnlySpan<byte> address);
        Oracle.Holds(kind == Slow(input, out int expected), "the kind of path that the grammar has");
        if (kind == PathKind.Bad)
        {
            Oracle.Holds(length == 0 && address.IsEmpty, "nothing of a bad path");
            return;
        }
        Oracle.Holds(length == expected && input[length - 1] == '>', "a path ends at its bracket");
        Oracle.Holds(address.IsEmpty == (kind == PathKind.Null), "only the null path has no address");
        Oracle.Holds(PathParser.Parse(input[..length], out int alone, out ReadOnlySpan<byte> same) == kind && alone == length && same.SequenceEqual(address),
            "what follows the bracket changes nothing");

        byte[] again = new byte[address.Length + 2];
        again[0] = (byte)'<';
        address.CopyTo(again.AsSpan(1));
        again[^1] = (byte)'>';
        Oracle.Holds(PathParser.Parse(again, out length, out same) == kind && length == again.Length && same.SequenceEqual(address), "in brackets again it is the same");
        Oracle.Holds(!address.ContainsAnyInRange((byte)0, (byte)31), "no control character");
        if (kind == PathKind.Mailbox)
            Oracle.Holds(PathParser.IsDomain(address[(address.LastIndexOf((byte)'@') + 1)..]), "what follows the last @ is a domain");
    }

    private static PathKind Slow(ReadOnlySpan<byte> input, out int length)
    {
        string text = Encoding.Latin1.GetString(input);
        length = 0;
        Match match = PathForm.Match(text);
        if (!match.Success)
            return PathKind.Bad;
        length = match.Length;
        if (match.Length == 2)
            return PathKind.Null;
        foreach (Capture domain in match.Groups["domain"].Captures)
        {
            if (domain.Length > PathParser.MaxDomain || (domain.Value[0] == '[' && !IsLiteral(domain.Value[1..^1])))
                return PathKind.Bad;
        }
        if (match.Groups["local"].Length > PathParser.MaxLocalPart)
            return PathKind.Bad;
        return match.Groups["at"].Success ? PathKind.Mailbox : PathKind.LocalOnly;
    }

    private static bool IsLiteral(string inside)
    {
        bool six = inside.StartsWith("IPv6:", StringComparison.OrdinalIgnoreCase);
        string text = six ? inside[5..] : inside;
        if (!IPAddress.TryParse(text, out IPAddress? address) || text.Contains('%') || text.Contains('['))
            return false;
        return six ? address.AddressFamily == AddressFamily.InterNetworkV6 : text == address.ToString() && address.AddressFamily == AddressFamily.InterNetwork;
    }

    [GeneratedRegex($"""\A<(?:(?:@(?<domain>{Domain}),)*@(?<domain>{Domain}):)?(?<local>{Local})(?<at>@(?<domain>{Domain}))?>|\A<>""")]
    private static partial Regex PathForm { get; }
}
