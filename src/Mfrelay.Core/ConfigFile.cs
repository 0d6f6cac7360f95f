using System.Buffers;
using System.Text;

namespace Mfrelay.Core;

/// <summary>Reads the config: mfrelay.toml, then conf.d/*.toml beside it in the order of their names. A later file wins; [[mail_server]] entries add up.</summary>
public static class ConfigFile
{
    public const string DefaultPath = "/etc/mfrelay/mfrelay.toml";

    /// <summary>The largest file that is read, in octets: room for 100,000 mail servers, and no more memory for /dev/zero.</summary>
    private const int MaxSize = 16 << 20;

    /// <summary>Never throws: every error of every file is in the result. May ask DNS for the machine's name when no file has host_name.</summary>
    public static ConfigLoad Load(string path) => Load(path, HostName.OfMachine);

    /// <param name="withUsers">False: server.users_file need not be there.</param>
    public static ConfigLoad Load(string path, bool withUsers) => Load(path, HostName.OfMachine, withUsers);

    internal static ConfigLoad Load(string path, Func<string> machineName, bool withUsers = true)
    {
        var errors = new List<ConfigError>();
        List<string> files = [path, .. Fragments(path, errors)];
        return Load(path, [.. files.Select(file => (file, ReadText(file, errors)))], machineName, withUsers, errors);
    }

    /// <summary>From the text of each file, the main one first; null for one that could not be read, of which the errors tell already.</summary>
    internal static ConfigLoad Load(string path, IReadOnlyList<(string File, string? Text)> texts, Func<string> machineName, bool withUsers, List<ConfigError> errors)
    {
        var settings = new Settings();
        var binder = new ConfigBinder(errors);
        List<string> files = [.. texts.Select(text => text.File)];
        foreach ((string file, string? text) in texts)
        {
            if (text is not null && ConfigSyntax.Parse(file, text, errors) is { } table)
                binder.Bind(table, settings);
        }
        if (binder.PlaceOf("host_name") is null)
            settings = settings with { HostName = CheckedName(machineName(), path, errors) };
        // Who runs it elsewhere, by hand or in a test, does not want the log of this machine's service.
        if (binder.PlaceOf("log_directory") is null && !string.Equals(settings.StateDirectory, new Settings().StateDirectory, StringComparison.Ordinal))
            settings = settings with { LogDirectory = Path.Join(settings.StateDirectory, "log") };
        // Who writes [[listener]] tables alone does not want port 25 besides.
        if (settings.Listeners.Count > 0 && binder.PlaceOf("server.listen") is null)
            settings = settings with { Server = settings.Server with { Listen = [] } };
        var warnings = new List<ConfigError>();
        new ConfigChecks(settings, binder, path, errors).Run();
        new DoorChecks(settings, binder, path, errors, warnings).Run(withUsers);
        return new ConfigLoad
        {
            Settings = errors.Count == 0 ? settings : null,
            Errors = [.. errors.OrderBy(error => files.IndexOf(error.File)).ThenBy(error => error.Line)],
            Warnings = warnings,
        };
    }

    private static string[] Fragments(string path, List<ConfigError> errors)
    {
        string directory = Path.Join(Path.GetDirectoryName(path), "conf.d");
        try
        {
            // Hidden ones are what editors leave while they write.
            return [.. Directory.GetFiles(directory, "*.toml")
                .Where(file => !Path.GetFileName(file.AsSpan()).StartsWith('.'))
                .Order(StringComparer.Ordinal)];
        }
        catch (DirectoryNotFoundException)
        {
            return [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            errors.Add(new(directory, 0, "", Explain(e)));
            return [];
        }
    }

    private static string? ReadText(string file, List<ConfigError> errors)
    {
        try
        {
            if (Directory.Exists(file))
                return Refuse("this is a directory; name the file in it");
            return ReadBytes(file) is { } bytes ? Decode(file, bytes, errors) : Refuse($"too large; at most {ByteSize.Format(MaxSize)} are allowed");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return Refuse(Explain(e));
        }

        string? Refuse(string message)
        {
            errors.Add(new(file, 0, "", message));
            return null;
        }
    }

    internal static string? Decode(string file, ReadOnlySpan<byte> bytes, List<ConfigError> errors)
    {
        // Valid up to here, so the line of the first bad octet is known.
        int valid = ValidLength(bytes);
        if (valid == bytes.Length)
            return Encoding.UTF8.GetString(bytes);
        errors.Add(new(file, bytes[..valid].Count((byte)'\n') + 1, "", "not UTF-8, which TOML must be; save the file as UTF-8"));
        return null;
    }

    // A pipe or a device has no length to ask for.
    private static byte[]? ReadBytes(string file)
    {
        using FileStream stream = File.OpenRead(file);
        using var bytes = new MemoryStream();
        byte[] block = new byte[64 << 10];
        while (stream.Read(block) is > 0 and int length)
        {
            bytes.Write(block, 0, length);
            if (bytes.Length > MaxSize)
                return null;
        }
        return bytes.ToArray();
    }

    private static int ValidLength(ReadOnlySpan<byte> bytes)
    {
        int valid = 0;
        while (Rune.DecodeFromUtf8(bytes[valid..], out _, out int length) == OperationStatus.Done)
            valid += length;
        return valid;
    }

    private static string Explain(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException =>
            $"there is no such file; copy the sample mfrelay.toml to this place, or name another file (the default is {DefaultPath})",
        UnauthorizedAccessException => "no permission to read this; let the user of the service read it, or use sudo",
        _ => $"cannot be read: {e.Message}",
    };

    private static string CheckedName(string name, string file, List<ConfigError> errors)
    {
        if (!HostName.IsDomain(name))
            errors.Add(new(file, 0, "host_name", $"the machine's name, \"{name}\", is not a domain name; write host_name = \"relay.example.jp\" or the like"));
        return name;
    }
}
