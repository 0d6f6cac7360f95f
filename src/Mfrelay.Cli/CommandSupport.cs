using System.CommandLine;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>What a command runs with: where it writes, in which language, at which time. Tests give their own.</summary>
/// <param name="Answers">Where a question is answered; null: nobody is there to be asked.</param>
internal sealed record CommandContext(TimeProvider Time, Func<string, string?> Environment, TextReader? Answers = null)
{
    public static readonly CommandContext OfProcess =
        new(TimeProvider.System, System.Environment.GetEnvironmentVariable, Console.IsInputRedirected ? null : Console.In);

    /// <summary>Standard input.</summary>
    public TextReader Input { get; init; } = Console.In;

    /// <summary>The user's own language where LC_ALL, LC_MESSAGES or LANG names one of ours, otherwise the config's.</summary>
    public Language LanguageOf(Settings settings) => OfLocale ?? settings.Language;

    /// <summary>The language where there is no config yet: of help, and of what is wrong with a command line.</summary>
    public Language LanguageOfHelp => OfLocale ?? Language.En;

    private Language? OfLocale
    {
        get
        {
            string locale = Set("LC_ALL") ?? Set("LC_MESSAGES") ?? Set("LANG") ?? "";
            return locale.StartsWith("ja", StringComparison.Ordinal) ? Language.Ja
                : locale.StartsWith("en", StringComparison.Ordinal) ? Language.En
                : null;
        }
    }

    private string? Set(string name) => Environment(name) is { Length: > 0 } value ? value : null;
}

/// <summary>What commands have in common: options, JSON, exit codes of sysexits.h.</summary>
internal static class CommandSupport
{
    public const int Failed = 1;

    /// <summary>EX_USAGE.</summary>
    public const int WrongUse = 64;

    /// <summary>EX_CANTCREAT, as the daemons say it: the state directory cannot be used.</summary>
    public const int StateNotUsable = 73;

    /// <summary>EX_NOPERM.</summary>
    public const int NoRights = 77;

    public static readonly JsonSerializerOptions JsonOptions = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        // Paths and Japanese names stay readable; nobody puts this into HTML.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
        WriteIndented = true,
    };

    public static Option<string> ConfigOption() => new("--config")
    {
        Description = "The config file.",
        DefaultValueFactory = _ => ConfigFile.DefaultPath,
        HelpName = "FILE",
    };

    public static Option<bool> JsonOption() => new("--json") { Description = "Print the result as JSON on standard output." };

    /// <summary>The values of an enum are written as in JSON, in help and completion too.</summary>
    public static Option<T> WithWords<T>(this Option<T> option)
    {
        option.CompletionSources.Clear();
        option.CompletionSources.Add([.. Words(option)]);
        return option;
    }

    /// <summary>"held", "deferred", "due": what an option of an enum takes; none for others.</summary>
    public static IEnumerable<string> Words(Option option) =>
        (Nullable.GetUnderlyingType(option.ValueType) ?? option.ValueType) is { IsEnum: true } type ? Enum.GetNames(type).Select(Setting.SnakeCase) : [];

    public static void WriteJson(this TextWriter output, object value) => output.WriteLine(JsonSerializer.Serialize(value, JsonOptions));

    /// <summary>A line; where nothing is awaited, because it goes to a terminal or a file.</summary>
    public static void Line(this TextWriter output, string text) => output.WriteLine(text);

    /// <summary>Reads the config as the daemons do; writes its errors, and returns null, when there are any: the exit status is then 78.</summary>
    public static Settings? LoadSettings(string file, TextWriter error)
    {
        ConfigLoad load = ConfigFile.Load(file);
        if (load.Settings is null)
            error.WriteLine(string.Join('\n', load.Errors));
        return load.Settings;
    }

    /// <summary>Whether an operator means this mail server by a host, a host:port or a domain.</summary>
    public static bool IsCalled(this MailServer server, string name) =>
        string.Equals(name, server.Host, StringComparison.OrdinalIgnoreCase)
        || string.Equals(name, server.Address, StringComparison.OrdinalIgnoreCase)
        || string.Equals(name, server.Domain, StringComparison.OrdinalIgnoreCase);

    /// <summary>Runs what needs config and store: their errors are lines on standard error and an exit status.</summary>
    public static async Task<int> WithStoreAsync(
        this CommandContext context, string config, InvocationConfiguration console, Func<Settings, QueueStore, Language, Task<int>> use)
    {
        if (LoadSettings(config, console.Error) is not { } settings)
            return ConfigLoad.ExitCode;
        Language language = context.LanguageOf(settings);
        return await StateAccess.WithStoreAsync(settings, language, console.Error, context.Time, store => use(settings, store, language));
    }

    /// <summary>The text of the language.</summary>
    public static string Say(this Language language, string japanese, string english) => language == Language.Ja ? japanese : english;

    /// <summary>"45s", "12m", "2h13m", "3d4h": as much as one wants to know of an age.</summary>
    public static string Age(TimeSpan span)
    {
        var c = CultureInfo.InvariantCulture;
        return span switch
        {
            { Ticks: < 0 } => "0s",
            { TotalMinutes: < 1 } => string.Create(c, $"{(int)span.TotalSeconds}s"),
            { TotalHours: < 1 } => string.Create(c, $"{span.Minutes}m"),
            { TotalDays: < 1 } => string.Create(c, $"{span.Hours}h{span.Minutes:00}m"),
            _ => string.Create(c, $"{(int)span.TotalDays}d{span.Hours}h"),
        };
    }

    /// <summary>Null for the values that mean never, so that JSON says null.</summary>
    public static DateTimeOffset? Known(this DateTimeOffset time) => time == default || time == DateTimeOffset.MaxValue ? null : time;
}
