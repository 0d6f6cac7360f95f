using System.CommandLine;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay config ...".</summary>
internal static class ConfigCommand
{
    public static Command Create(CommandContext context)
    {
        var command = new Command("config", "Look at the configuration.")
        {
            CreateCheck(),
            new ConfigDiff(context).CreateShow(),
            new ConfigDiff(context).CreateDiff(),
        };
        command.AddExamples(
            ("mfrelay config check", "before a reload: is it right?"),
            ("mfrelay config diff", "and what would it change?"));
        return command;
    }

    private static Command CreateCheck()
    {
        var file = new Argument<string>("FILE")
        {
            Description = "The config file; conf.d/*.toml beside it belongs to it.",
            DefaultValueFactory = _ => ConfigFile.DefaultPath,
        };
        var json = new Option<bool>("--json") { Description = "Print the result as JSON on standard output." };
        var command = new Command("check", $"Read the configuration as the daemons do and print every error in it (exit status {ConfigLoad.ExitCode}).")
        {
            file,
            json,
        };
        command.AddExamples(
            ("mfrelay config check", "checks /etc/mfrelay/mfrelay.toml and its conf.d"),
            ("mfrelay config check ./new.toml", "checks a file before it is put in place"),
            ("mfrelay config check --json | jq -r '.errors[].message'", "gives the errors to a program"));
        command.SetAction(result => Check(result.GetRequiredValue(file), result.GetValue(json), result.InvocationConfiguration));
        return command;
    }

    private static int Check(string file, bool asJson, InvocationConfiguration console)
    {
        ConfigLoad load = ConfigFile.Load(file);
        if (asJson)
            console.Output.WriteJson(new { File = file, Ok = load.Settings is not null, load.Errors, load.Warnings });
        else if (load.Settings is { } settings)
            console.Output.WriteLine($"{file}: OK, {Summary(settings)}");
        else
            console.Error.WriteLine(string.Join('\n', load.Errors));
        foreach (ConfigError warning in asJson ? [] : load.Warnings)
            console.Error.WriteLine($"warning: {warning}");
        return load.Settings is null ? ConfigLoad.ExitCode : 0;
    }

    private static string Summary(Settings settings)
    {
        int servers = settings.MailServers.Count;
        int domains = new RouteTable(settings.MailServers).Routes.Count;
        return $"{servers} mail server{(servers == 1 ? "" : "s")} for {domains} domain{(domains == 1 ? "" : "s")}";
    }
}
