using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Fuzz;

/// <summary>
/// Config files. Oracles: never an exception; settings or errors, never both or neither; each error has a line of the file and a text for one
/// line of the terminal; settings written by "mfrelay config show" are read as the same settings.
/// </summary>
internal static class ConfigTarget
{
    private const string File = "/etc/mfrelay/mfrelay.toml";

    /// <summary>Many mutations say the same settings: reading them again once is enough.</summary>
    private static string s_lastShown = "";

    public static FuzzTarget Target { get; } = new("config", Run, FuzzTarget.Words(
        "[server]\n", "[client]\n", "[alert]\n", "[[mail_server]]\n", "[[listener]]\n", "[[certificate]]\n", "domain = ", "host = ", "port = 25\n", " = ", "\"", "\"\"\"", "'",
        "\n", "[", "]", "{", "}", ",", "\\u0000", "\\U0010FFFF", "listen = [\"127.0.0.1:25\"]\n", "allow = [\"10.0.0.0/8\"]\n", "max_errors = 5\n", "\"50MB\"", "\"5m\"", "true", "false",
        "1e400", "0x1F", "1979-05-27T07:32:00Z", "nan", "9223372036854775808", "host_name = \"relay.example\"\n", "profile = \"smtps\"\n", "address = \"[::1]:25\"\n", "#", "mail_server.", "a.b.c = 1\n"));

    public static void Run(ReadOnlySpan<byte> input)
    {
        ConfigLoad load = Load(input);
        Oracle.Holds((load.Settings is null) == (load.Errors.Count > 0), "settings, or errors");
        int lines = input.Count((byte)'\n') + 1;
        foreach (ConfigError error in load.Errors.Concat(load.Warnings))
        {
            Oracle.Holds(error.File == File && error.Line >= 0 && error.Line <= lines, "an error has its place in the file");
            Oracle.Holds(error.Line > 0 || error.Key.Length > 0 || error.Message.StartsWith("not TOML", StringComparison.Ordinal), "only an error of the whole has no line");
            Oracle.Holds(error.Message.Length > 0 && !error.ToString().Any(char.IsControl), "an error is one line of text");
        }
        if (load.Settings is not { } settings)
            return;
        string shown = ConfigText.Of(settings);
        if (string.Equals(shown, Volatile.Read(ref s_lastShown), StringComparison.Ordinal))
            return;
        Volatile.Write(ref s_lastShown, shown);
        ConfigLoad again = Load(Encoding.UTF8.GetBytes(shown));
        Oracle.Holds(again.Settings is not null, $"what \"config show\" writes can be read: {(again.Errors is [var first, ..] ? first : null)}");
        Oracle.Holds(ConfigText.Of(again.Settings!) == shown, "what \"config show\" writes is read as the same settings");
    }

    private static ConfigLoad Load(ReadOnlySpan<byte> input)
    {
        var errors = new List<ConfigError>();
        return ConfigFile.Load(File, [(File, ConfigFile.Decode(File, input, errors))], static () => "machine.example", withUsers: false, errors);
    }
}
