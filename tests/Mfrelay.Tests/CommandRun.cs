extern alias cli;

using System.CommandLine;
using System.Text.Json;
using cli::Mfrelay.Cli;
using Mfrelay.Core;

namespace Mfrelay.Tests;

/// <summary>Runs commands in this process against a config and a state directory of the test, at midday of 2026-11-24.</summary>
internal sealed class CommandRun : IDisposable
{
    public static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    private readonly TestDirectory _directory = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _error = new();

    /// <param name="config">Without host_name, language and the directories.</param>
    public CommandRun(string config)
    {
        State = Path.Combine(_directory.Path, "state");
        RunDirectory = Path.Combine(_directory.Path, "run");
        Directory.CreateDirectory(State);
        Directory.CreateDirectory(RunDirectory);
        Config = Path.Combine(_directory.Path, "mfrelay.toml");
        File.WriteAllText(Config, $"""
            host_name = "relay.example"
            language = "en"
            state_directory = "{State}"
            run_directory = "{RunDirectory}"
            {config}
            """);
    }

    public string Config { get; }
    public string State { get; }
    public string RunDirectory { get; }
    public Dictionary<string, string> Environment { get; } = new(StringComparer.Ordinal);
    public TimeProvider Time { get; init; } = new VirtualTime(Now);

    /// <summary>What somebody types at a terminal; null: nobody is there.</summary>
    public string? Typed { get; set; }

    public string Input { get; set; } = "";

    public string Output => _output.ToString();
    public string Error => _error.ToString();
    public string[] Lines => Output.TrimEnd('\n').Split('\n');

    /// <summary>Runs "mfrelay ARGUMENTS --config FILE".</summary>
    public int Invoke(params string[] arguments)
    {
        _output.GetStringBuilder().Clear();
        _error.GetStringBuilder().Clear();
        using var input = new StringReader(Input);
        return Run([.. arguments, "--config", Config], input);
    }

    /// <summary>Runs "mfrelay ARGUMENTS".</summary>
    public int InvokeAlone(params string[] arguments)
    {
        _output.GetStringBuilder().Clear();
        _error.GetStringBuilder().Clear();
        return Run(arguments, TextReader.Null);
    }

    private int Run(string[] arguments, TextReader input) => CommandLine.RunAsync(
        arguments,
        new CommandContext(Time, name => Environment.GetValueOrDefault(name), Typed is null ? null : new StringReader(Typed)) { Input = input },
        new InvocationConfiguration { Output = _output, Error = _error }).GetAwaiter().GetResult();

    public JsonElement Json()
    {
        using var document = JsonDocument.Parse(Output);
        return document.RootElement.Clone();
    }

    public async Task SeedAsync(params MailServerHealth[] health) => await StoreAsync(table =>
    {
        foreach (MailServerHealth row in health)
            table.PutHealth(row);
    });

    public async Task StoreAsync(Action<QueueTable> change)
    {
        using MailLog log = MailLog.ToAction(Language.En, (_, _) => { });
        using var store = new QueueStore(StateDirectory.Open(State), () => new RouteTable([]), log, TimeProvider.System);
        await store.RunAsync(table =>
        {
            change(table);
            return true;
        });
    }

    public static MailServerHealth View(HealthOwner owner, string host, HealthState state, string domain = "example.com") =>
        MailServerHealth.Of(owner, new MailServer { Domain = domain, Host = host }, Now.AddHours(-2)) with { State = state };

    public static Delivery Delivery(int number, string route, TimeSpan age) => new()
    {
        Id = new QueueId(number),
        Position = new SpoolPosition(1, number),
        Size = 100,
        Arrival = Now - age,
        ReversePath = "s@a.example",
        Route = route,
        Recipients = [new OpenRecipient(0, $"u@{route}")],
    };

    public void Dispose()
    {
        _directory.Dispose();
        _output.Dispose();
        _error.Dispose();
    }
}
