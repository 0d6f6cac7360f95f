using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using System.Runtime.Serialization;

namespace Mfrelay.Core;

/// <summary>One value of a setting: from TOML, to TOML, and in words, by the type of its property. Here is the list of types a setting can have.</summary>
[UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Setting.Kept)]
internal static class SettingValue
{
    /// <returns>The value, or null with an error that says what is wrong and what is allowed.</returns>
    public static object? Read(Setting setting, ConfigNode node, out string error)
    {
        error = "";
        if (node is not ConfigScalar scalar || !IsWritable(setting.Type, scalar.Value))
        {
            error = $"{node.Described}; write {Wanted(setting)}";
            return null;
        }
        object? value = Parse(setting, scalar.Value!);
        if (value is null)
            error = $"{scalar.Shown} is not {Name(setting)}; write {Wanted(setting)}";
        else if (setting.Min?.CompareTo(value) > 0)
            error = $"{scalar.Shown} is too small; write {Wanted(setting)}";
        else if (setting.Max?.CompareTo(value) < 0)
            error = $"{scalar.Shown} is too large; write {Wanted(setting)}";
        return error.Length == 0 ? value : null;
    }

    /// <summary>A bound in an attribute; a bad one is a bug.</summary>
    public static IComparable ParseBound(Type type, string text)
    {
        if (type == typeof(int))
            return int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);
        if (type == typeof(long) && ByteSize.TryParse(text, out long size))
            return size;
        if (type == typeof(TimeSpan) && Duration.TryParse(text, out TimeSpan duration))
            return duration;
        throw new FormatException($"\"{text}\" is no bound for a setting of type {type.Name}");
    }

    /// <summary>The value as one writes it in the file.</summary>
    public static string Format(object value) => value switch
    {
        string text => Quoted(text),
        bool flag => flag ? "true" : "false",
        int number => number.ToString(CultureInfo.InvariantCulture),
        long size => Quoted(ByteSize.Format(size)),
        TimeSpan duration => Quoted(Duration.Format(duration)),
        Enum choice => Quoted(NameOf(choice.GetType(), choice.ToString())),
        IPEndPoint or IPNetwork => Quoted(value.ToString()!),
        IEnumerable list => $"[{string.Join(", ", list.Cast<object>().Select(Format))}]",
        _ => throw new NotSupportedException($"A setting cannot be of type {value.GetType()}"),
    };

    /// <summary>"from 1 to 1000"; "" when everything is allowed.</summary>
    public static string Range(Setting setting) => (setting.Attribute.Min, setting.Attribute.Max) switch
    {
        (null, null) => "",
        ({ } min, null) => $"at least {min}",
        (null, { } max) => $"at most {max}",
        ({ } min, { } max) => $"from {min} to {max}",
    };

    private static bool IsWritable(Type type, object? value) => value switch
    {
        long => type == typeof(int) || type == typeof(long),
        bool => type == typeof(bool),
        string => type != typeof(int) && type != typeof(bool),
        _ => false,
    };

    private static object? Parse(Setting setting, object value) => value switch
    {
        bool flag => flag,
        // What does not fit an int is out of every range: let it fail there, with the right words.
        long number when setting.Type == typeof(int) => (int)Math.Clamp(number, int.MinValue, int.MaxValue),
        0L when setting.Type == typeof(TimeSpan) => TimeSpan.Zero,
        long size => size,
        string text => ParseText(setting, text),
        _ => null,
    };

    private static object? ParseText(Setting setting, string text)
    {
        Type type = setting.Type;
        if (type == typeof(string))
            return IsOfForm(setting.Attribute.Form, text) ? text : null;
        if (type == typeof(long))
            return ByteSize.TryParse(text, out long size) ? size : null;
        if (type == typeof(TimeSpan))
            return Duration.TryParse(text, out TimeSpan duration) ? duration : null;
        if (type == typeof(IPEndPoint))
            return ParseEndPoint(text);
        if (type == typeof(IPNetwork))
            return ParseNetwork(text);
        if (type.IsEnum)
            return ParseChoice(type, text);
        throw new NotSupportedException($"A setting cannot be of type {type}");
    }

    private static object? ParseChoice(Type type, string text) =>
        Enum.GetNames(type).FirstOrDefault(choice => NameOf(type, choice).Equals(text, StringComparison.Ordinal)) is { } name ? Enum.Parse(type, name) : null;

    /// <summary>"next" for Next; what an EnumMember attribute says where the word is another.</summary>
    private static string NameOf(Type type, string choice) =>
        type.GetField(choice)!.GetCustomAttribute<EnumMemberAttribute>()?.Value ?? Setting.SnakeCase(choice);

    // IPEndPoint.TryParse alone also takes "127.0.0.1" (port 0) and "::1:25" (an address, port 0).
    private static IPEndPoint? ParseEndPoint(string text)
    {
        int colon = text.LastIndexOf(':');
        if (colon < 0 || !ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort port))
            return null;
        ReadOnlySpan<char> host = text.AsSpan(0, colon);
        bool bracketed = host is ['[', .., ']'];
        return HostName.ParseAddress(bracketed ? host[1..^1] : host) is { } address && bracketed == (address.AddressFamily == AddressFamily.InterNetworkV6)
            ? new IPEndPoint(address, port)
            : null;
    }

    // An address alone is a network of one. IPNetwork.TryParse alone also takes "10/8", and clears the bits below the prefix.
    private static IPNetwork? ParseNetwork(string text)
    {
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        if (HostName.ParseAddress(slash < 0 ? text : text.AsSpan(0, slash)) is not { } address)
            return null;
        if (slash < 0)
            return new IPNetwork(address, address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128);
        return IPNetwork.TryParse(text, out IPNetwork network) ? network : default(IPNetwork?);
    }

    private static bool IsOfForm(SettingForm form, string text) => form switch
    {
        SettingForm.Text => true,
        SettingForm.AbsolutePath => text.StartsWith('/') && !text.AsSpan().ContainsAnyInRange('\0', '\x1f'),
        SettingForm.Fingerprint => TlsFiles.ParseFingerprint(text) is not null,
        SettingForm.AddressRule => AddressRules.IsRule(text),
        SettingForm.DomainName => HostName.IsDomain(text),
        SettingForm.DomainPattern => text is "*" || HostName.IsMailDomain(text.StartsWith("*.", StringComparison.Ordinal) ? text.AsSpan(2) : text),
        SettingForm.Host => HostName.ParseAddress(text) is not null || HostName.IsHost(text),
        SettingForm.OptionalPath => text.Length == 0 || IsOfForm(SettingForm.AbsolutePath, text),
        SettingForm.OptionalAddress => text.Length == 0 || HostName.ParseAddress(text) is not null,
        SettingForm.OptionalName => text.Length == 0 || HostName.IsDomain(text),
        SettingForm.OptionalLoopback => text.Length == 0 || (ParseEndPoint(text) is { Port: > 0 } endPoint && IPAddress.IsLoopback(endPoint.Address)),
        SettingForm.OptionalUrl => text.Length == 0 || (Uri.TryCreate(text, UriKind.Absolute, out Uri? url) && url.Scheme is "http" or "https" && url.Host.Length > 0),
    };

    private static string Name(Setting setting)
    {
        Type type = setting.Type;
        if (type == typeof(int))
            return "an integer";
        if (type == typeof(bool))
            return "a boolean";
        if (type == typeof(long))
            return "a size";
        if (type == typeof(TimeSpan))
            return "a duration";
        if (type == typeof(IPEndPoint))
            return "an address with a port";
        if (type == typeof(IPNetwork))
            return "a network";
        return type.IsEnum ? "one of the choices" : Name(setting.Attribute.Form);
    }

    private static string Name(SettingForm form) => form switch
    {
        SettingForm.Text => "a string",
        SettingForm.AbsolutePath => "an absolute path",
        SettingForm.Fingerprint => "a SHA-256 fingerprint",
        SettingForm.AddressRule => "a rule",
        SettingForm.DomainName => "a domain name",
        SettingForm.DomainPattern => "a domain",
        SettingForm.Host => "a host name or IP address",
        SettingForm.OptionalPath => "an absolute path",
        SettingForm.OptionalAddress => "an IP address",
        SettingForm.OptionalName => "a domain name",
        SettingForm.OptionalLoopback => "a loopback address with a port",
        SettingForm.OptionalUrl => "a URL",
    };

    /// <summary>What one may write, in words: for errors and the manual.</summary>
    public static string Wanted(Setting setting)
    {
        string range = Range(setting) is { Length: > 0 } words ? $", {words}" : "";
        Type type = setting.Type;
        if (type == typeof(int))
            return $"an integer {Range(setting)}".TrimEnd();
        if (type == typeof(bool))
            return "true or false";
        if (type == typeof(long))
            return $"a number with B, KB, KiB, MB, MiB, GB or GiB{range}";
        if (type == typeof(TimeSpan))
            return $"a number with ms, s, m, h or d in quotes{range}";
        if (type == typeof(IPEndPoint))
            return "an IP address and a port, \"192.0.2.1:25\" or \"[2001:db8::1]:25\"";
        if (type == typeof(IPNetwork))
            return "a network, \"192.0.2.0/24\" or \"2001:db8::/32\", or one address";
        return type.IsEnum
            ? string.Join(" or ", Enum.GetNames(type).Select(name => Quoted(NameOf(type, name))))
            : Wanted(setting.Attribute.Form);
    }

    private static string Wanted(SettingForm form) => form switch
    {
        SettingForm.Text => "a string in quotes",
        SettingForm.AbsolutePath => "a path that begins with \"/\"",
        SettingForm.Fingerprint => "64 hexadecimal digits, as \"openssl x509 -noout -fingerprint -sha256\" prints them",
        SettingForm.AddressRule =>
            "\"user@example.com\", \"user@\", \"example.com\", \"*.example.com\", \"<>\" or \"/regular expression/\" (no look-around, no back references)",
        SettingForm.DomainName => "a name of letters, digits, \"-\" and \".\" such as \"relay.example.jp\"",
        SettingForm.DomainPattern => "\"example.com\", \"*.example.com\" or \"*\"",
        SettingForm.Host => "a host name, or an IP address without brackets and port",
        SettingForm.OptionalPath => "a path that begins with \"/\", or \"\"",
        SettingForm.OptionalAddress => "an IP address without brackets and port, or \"\"",
        SettingForm.OptionalName => "a name of letters, digits, \"-\" and \".\" such as \"relay.example.jp\", or \"\"",
        SettingForm.OptionalLoopback => "\"127.0.0.1:9125\", \"[::1]:9125\" (a loopback address: nobody is asked for a password there), or \"\"",
        SettingForm.OptionalUrl => "\"https://host/path\" or \"http://host/path\", or \"\"",
    };

    private static string Quoted(string text) =>
        $"\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";
}
