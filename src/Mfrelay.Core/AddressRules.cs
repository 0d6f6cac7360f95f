using System.Collections.Frozen;
using System.Text;
using System.Text.RegularExpressions;

namespace Mfrelay.Core;

/// <summary>
/// A list of addresses as the config writes it: "user@example.com", "user@" in any domain, "example.com", "*.example.com" for what is below
/// it, "&lt;&gt;" for the null reverse-path, "/expression/". Letters are compared without case, and however an address is written: with
/// quotes that it does not need (RFC 5321 4.1.2), with a dot at its end. Expressions run without backtracking, so that no address makes one
/// slow, and with a time limit besides.
/// </summary>
internal sealed class AddressRules
{
    private static readonly TimeSpan MatchTimeout = TimeSpan.FromMilliseconds(100);

    private readonly FrozenSet<string> _exact;
    private readonly Regex[] _expressions;

    public AddressRules(IReadOnlyList<string> rules)
    {
        _exact = rules.Where(rule => !IsExpression(rule)).ToFrozenSet(StringComparer.OrdinalIgnoreCase);
        _expressions = [.. rules.Where(IsExpression).Select(Compile)];
        IsEmpty = rules.Count == 0;
    }

    public bool IsEmpty { get; }

    public static bool IsRule(string text)
    {
        if (!IsExpression(text))
            return text is "<>" || (text.Length > 0 && !text.AsSpan().ContainsAny(" \t<>") && text is not "@" and not "*.");
        try
        {
            Compile(text);
            return true;
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            return false;
        }
    }

    /// <param name="address">An address without brackets, a domain, or "" for the null reverse-path.</param>
    /// <exception cref="RegexMatchTimeoutException">The caller refuses then.</exception>
    public bool Match(string address) =>
        !IsEmpty && (MatchAsWritten(address) || (Plain(address) is { } plain && !string.Equals(plain, address, StringComparison.Ordinal) && MatchAsWritten(plain)));

    private bool MatchAsWritten(string address)
    {
        var exact = _exact.GetAlternateLookup<ReadOnlySpan<char>>();
        int at = address.LastIndexOf('@');
        ReadOnlySpan<char> domain = address.AsSpan(at + 1);
        if (exact.Contains(address.Length == 0 ? "<>" : address) || (at >= 0 && exact.Contains(address.AsSpan(0, at + 1))))
            return true;
        if (domain.Length > 0 && exact.Contains(domain))
            return true;
        while (HostName.NextAbove(ref domain) is { } above)
        {
            if (exact.Contains(above))
                return true;
        }
        return _expressions.Any(expression => expression.IsMatch(address));
    }

    private static string Plain(string address)
    {
        if (address is [.., '.'])
            address = address[..^1];
        int at = address.LastIndexOf('@');
        if (address is not ['"', ..] || at < 2)
            return address;
        var local = new StringBuilder(address.Length);
        for (int i = 1; i < at - 1; i++)
        {
            if (address[i] == '\\' && i + 1 < at - 1)
                i++;
            local.Append(address[i]);
        }
        return local.Append(address.AsSpan(at)).ToString();
    }

    private static bool IsExpression(string rule) => rule is ['/', _, .., '/'];

    private static Regex Compile(string rule) =>
        new(rule[1..^1], RegexOptions.NonBacktracking | RegexOptions.IgnoreCase | RegexOptions.CultureInvariant, MatchTimeout);
}
