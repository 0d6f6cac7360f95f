using System.CommandLine;
using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay health check": a check now, with its dialog. It changes nothing in the views of the daemons.</summary>
internal sealed class HealthCheckCommand(CommandContext context)
{
    private readonly Argument<string?> _server = new("SERVER")
    {
        Description = "Those of this host, host:port or domain; all registered mail servers without it.",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command Create()
    {
        var command = new Command("check", "Check mail servers now and print each step of the dialog (exit status 0: all are reached, 1: not).")
        {
            _server,
            _config,
            _json,
        };
        command.AddExamples(
            ("mfrelay health check", "checks all registered mail servers"),
            ("mfrelay health check 192.168.0.1:25", "checks one"),
            ("mfrelay health check example.com --json", "gives the result for a domain's mail servers to a program"));
        command.SetAction((result, cancel) => RunAsync(
            result.GetRequiredValue(_config), result.GetValue(_server), result.GetValue(_json), result.InvocationConfiguration, cancel));
        return command;
    }

    private async Task<int> RunAsync(string config, string? which, bool asJson, InvocationConfiguration console, CancellationToken cancel)
    {
        if (CommandSupport.LoadSettings(config, console.Error) is not { } settings)
            return ConfigLoad.ExitCode;
        Language language = context.LanguageOf(settings);
        // One registered for several domains is checked once.
        MailServer[] servers = [.. settings.MailServers.Where(server => !server.IsMx && (which is null || server.IsCalled(which))).DistinctBy(server => server.Address, StringComparer.OrdinalIgnoreCase)];
        if (servers.Length == 0)
        {
            await console.Error.WriteLineAsync("mfrelay: " + (which is null
                ? language.Say("メールサーバーが登録されていません", "no mail server is registered")
                : language.Say($"登録されたメールサーバーに {which} はありません", $"no registered mail server has the host, address or domain {which}")));
            return CommandSupport.Failed;
        }
        using var turns = new SemaphoreSlim(settings.Server.MaxChecks);
        Action<string>? live = servers.Length == 1 && !asJson ? console.Output.WriteLine : null;
        Task<Checked>[] checks = [.. servers.Select(server => CheckAsync(server, settings, turns, live, cancel))];
        if (!asJson)
        {
            foreach (Task<Checked> check in checks)
                Print(await check, live is null, language, console.Output);
        }
        Checked[] all = await Task.WhenAll(checks);
        if (asJson)
            console.Output.WriteJson(all.Select(ToJson));
        return all.All(check => check.Result is HealthEvent.CheckSucceeded) ? 0 : CommandSupport.Failed;
    }

    private async Task<Checked> CheckAsync(MailServer server, Settings settings, SemaphoreSlim turns, Action<string>? live, CancellationToken cancel)
    {
        await turns.WaitAsync(cancel);
        try
        {
            long start = context.Time.GetTimestamp();
            var steps = new List<Step>();
            var probe = new MailServerProbe(settings.HostName, settings.Server.CheckTimeout, context.Time);
            HealthEvent result = await probe.RunAsync(server, text =>
            {
                var step = new Step(Math.Round(context.Time.GetElapsedTime(start).TotalSeconds, 3), text);
                lock (steps)
                    steps.Add(step);
                live?.Invoke(Line(step));
            }, cancel);
            lock (steps)
                return new Checked(server, result, [.. steps]);
        }
        finally
        {
            turns.Release();
        }
    }

    private static string Line(Step step) => string.Create(CultureInfo.InvariantCulture, $"{step.Seconds,8:0.000}s  {step.Text}");

    private static void Print(Checked check, bool withSteps, Language language, TextWriter output)
    {
        if (withSteps)
        {
            foreach (Step step in check.Steps)
                output.WriteLine(Line(step));
        }
        output.WriteLine($"{check.Server.Address}: " + check.Result switch
        {
            HealthEvent.CheckSucceeded => language.Say("接続可", "reached"),
            HealthEvent.ConnectFailed failed => language.Say("接続に失敗しました", "cannot connect") + $": {failed.Error}",
            HealthEvent.DialogFailed failed => language.Say("接続しましたが、応答が正常ではありません", "connected, but not a good answer") + $": {failed.Error}",
            _ => "",
        });
        if (withSteps)
            output.WriteLine();
    }

    private static object ToJson(Checked check)
    {
        Announcement? announced = (check.Result as HealthEvent.CheckSucceeded)?.Announced;
        return new
        {
            MailServer = check.Server.Address,
            Reached = announced is not null,
            Error = (check.Result as HealthEvent.ConnectFailed)?.Error ?? (check.Result as HealthEvent.DialogFailed)?.Error,
            Extensions = announced?.Extensions.Split(' ', StringSplitOptions.RemoveEmptyEntries),
            announced?.SizeLimit,
            announced?.Tls,
            CertificateExpiry = announced?.CertificateExpiry.Known(),
            check.Steps,
        };
    }

    private sealed record Step(double Seconds, string Text);

    private sealed record Checked(MailServer Server, HealthEvent Result, IReadOnlyList<Step> Steps);
}
