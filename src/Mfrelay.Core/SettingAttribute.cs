using System.Runtime.CompilerServices;

namespace Mfrelay.Core;

/// <summary>
/// Makes a property a setting of the config file: its key is the property's name in snake_case, its default the property's
/// initializer, and "required" properties must be given. The binder, the sample and the error texts all read this.
/// </summary>
/// <param name="doc">One line for the operator, without a full stop.</param>
/// <param name="line">Of the source, so that the settings of a record have an order; left to the compiler.</param>
[AttributeUsage(AttributeTargets.Property)]
public sealed class SettingAttribute(string doc, [CallerLineNumber] int line = 0) : Attribute
{
    public string Doc { get; } = doc;

    public int Line { get; } = line;

    /// <summary>The key, where it is not the property's name ("mail_server" for a list called MailServers).</summary>
    public string? Key { get; init; }

    /// <summary>Least value allowed, as one writes it in the file ("64KiB"); for a list: of each item.</summary>
    public string? Min { get; init; }

    /// <summary>Greatest value allowed, as one writes it in the file; for a list: of each item.</summary>
    public string? Max { get; init; }

    /// <summary>A list must have at least one item.</summary>
    public bool NotEmpty { get; init; }

    /// <summary>What a string must look like.</summary>
    public SettingForm Form { get; init; }

    /// <summary>What the sample shows for a setting that has no fixed default.</summary>
    public string? Example { get; init; }

    /// <summary>The default in words, where it is not a fixed value.</summary>
    public string? DefaultIs { get; init; }
}

/// <summary>What the string of a setting must look like.</summary>
public enum SettingForm
{
    Text,
    AbsolutePath,

    /// <summary>64 hexadecimal digits, with or without colons.</summary>
    Fingerprint,

    /// <summary>What <see cref="Core.AddressRules"/> takes.</summary>
    AddressRule,

    /// <summary>"relay.example.jp", as RFC 5321 4.1.2 wants it in EHLO.</summary>
    DomainName,

    /// <summary>"example.com", "*.example.com" or "*".</summary>
    DomainPattern,

    /// <summary>A host name, or an IP address without brackets.</summary>
    Host,

    /// <summary>An absolute path, or "" for none.</summary>
    OptionalPath,

    /// <summary>An IP address without brackets, or "" for none.</summary>
    OptionalAddress,

    /// <summary>A domain name, or "" for none.</summary>
    OptionalName,

    /// <summary>A loopback address with a port, or "" for none.</summary>
    OptionalLoopback,

    /// <summary>An http or https URL, or "" for none.</summary>
    OptionalUrl,
}
