using System.CommandLine;
using System.Runtime.InteropServices;
using System.Text.Json.Serialization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay reload": checks the config, then has the running daemons read it again.</summary>
internal sealed partial class ReloadCommand(CommandContext context)
{
    private const int HangUp = 1; // SIGHUP, the same number on every Linux
    private const int NotPermitted = 1; // EPERM

    private static readonly string[] Daemons = ["mf-smtp-server", "mf-smtp-client"];

    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command Create()
    {
        var command = new Command("reload", "Check the configuration, then have the running daemons take it over; nothing in flight is cut.")
        {
            _config,
            _json,
        };
        command.AddExamples(
            ("mfrelay reload", "tells both daemons; a config with an error is refused before that (exit status 78)"),
            ("journalctl -u 'mf-smtp-*' -n 5", "then shows what they took over"));
        command.SetAction(result => Run(result.GetRequiredValue(_config), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private int Run(string config, bool asJson, InvocationConfiguration console)
    {
        if (CommandSupport.LoadSettings(config, console.Error) is not { } settings)
            return ConfigLoad.ExitCode;
        Language language = context.LanguageOf(settings);
        return StateAccess.WithDaemons(settings, language, console.Error, () => TellAll(config, settings, language, asJson, console));
    }

    private static int TellAll(string config, Settings settings, Language language, bool asJson, InvocationConfiguration console)
    {
        Told[] all = [.. Daemons.Select(name => Tell(name, settings.RunDirectory, language))];
        if (asJson)
        {
            console.Output.WriteJson(new { Config = config, Daemons = all });
        }
        else
        {
            foreach (Told told in all)
                Print(told, language, console);
        }
        return all.Any(told => told.MayNot) ? CommandSupport.NoRights
            : all.Any(told => told.Error is not null) || !all.Any(told => told.Reloading) ? CommandSupport.Failed : 0;
    }

    private static void Print(Told told, Language language, InvocationConfiguration console)
    {
        if (told.Error is not null)
            console.Error.WriteLine($"mfrelay: {told.Name}: {told.Error}");
        else if (told.Reloading)
            console.Output.WriteLine(language.Say($"{told.Name} (pid {told.Pid}) に再読み込みを指示しました", $"{told.Name} (pid {told.Pid}) was told to read its config again"));
        else
            console.Output.WriteLine(language.Say($"{told.Name} は動作していません", $"{told.Name} is not running"));
    }

    private static Told Tell(string name, string runDirectory, Language language)
    {
        if (RunningDaemon.PidOf(name, runDirectory) is not { } pid)
            return new Told(name, null, false);
        if (Kill(pid, HangUp) == 0)
            return new Told(name, pid, true);
        if (Marshal.GetLastPInvokeError() != NotPermitted)
            return new Told(name, pid, false, Marshal.GetLastPInvokeErrorMessage());
        string error = language.Say(
            $"ユーザー '{Environment.UserName}' には権限がありません。root で実行してください (sudo mfrelay reload)",
            $"user '{Environment.UserName}' may not signal it; run it as root (sudo mfrelay reload)");
        return new Told(name, pid, false, error, MayNot: true);
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int pid, int signal);

    private sealed record Told(string Name, int? Pid, bool Reloading, string? Error = null, [property: JsonIgnore] bool MayNot = false);
}
