using System.Text.Json;
using System.Text.Json.Serialization;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Which alerts are up and what the webhook has not taken yet, as "alerts.json" in the state directory: a restart tells nobody twice, and an
/// alert that is over by then is still cleared. Not synced: after a power cut an alert may be told again.
/// </summary>
internal sealed record AlertMemory(IReadOnlyList<Alert> Up, IReadOnlyList<AlertNotice> Notices)
{
    public static readonly AlertMemory Empty = new([], []);

    /// <summary>Of the form of this file; another one is as none.</summary>
    public int Version { get; init; } = 1;

    public static AlertMemory Read(StateDirectory directory)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllText(FileOf(directory)), AlertJson.Default.AlertMemory) is { Version: 1 } memory ? memory : Empty;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return Empty;
        }
    }

    /// <exception cref="IOException">No room.</exception>
    public void Write(StateDirectory directory)
    {
        string file = FileOf(directory), unfinished = $"{file}.new";
        File.WriteAllText(unfinished, JsonSerializer.Serialize(this, AlertJson.Default.AlertMemory));
        File.Move(unfinished, file, overwrite: true);
    }

    private static string FileOf(StateDirectory directory) => Path.Combine(directory.Root, "alerts.json");
}

/// <summary>The form of the file and of what the webhook is sent, made by the compiler as <see cref="FiguresJson"/> is.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectRequiredConstructorParameters = true, RespectNullableAnnotations = true,
    IgnoreReadOnlyProperties = true, Converters = [typeof(AlertRuleName)])]
[JsonSerializable(typeof(AlertMemory))]
internal sealed partial class AlertJson : JsonSerializerContext;

/// <summary>"disk_free" for DiskFree.</summary>
internal sealed class AlertRuleName() : JsonStringEnumConverter<AlertRule>(JsonNamingPolicy.SnakeCaseLower);
