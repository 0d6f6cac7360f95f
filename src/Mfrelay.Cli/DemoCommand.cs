using System.CommandLine;

namespace Mfrelay.Cli;

/// <summary>"mfrelay demo".</summary>
internal static class DemoCommand
{
    /// <summary>Where the demonstration listens unless told otherwise or the port is taken.</summary>
    public const int DefaultPort = 2525;

    public static Command Create()
    {
        var once = new Option<bool>("--once") { Description = "End after the first round trip: 0 when it succeeded, 1 when it did not within 30 s." };
        var keep = new Option<bool>("--keep") { Description = "Leave the temporary directory with config, spool and database." };
        var port = new Option<int?>("--port")
        {
            Description = $"Loopback port for mf-smtp-server to listen on. Unless given: {DefaultPort}, or a free one when that is taken.",
            HelpName = "N",
        };
        port.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int?>() is < 1 or > 65535)
                result.AddError("--port: from 1 to 65535");
        });
        var command = new Command("demo", "Run both daemons in a temporary directory with a small receiving server behind them, and send mail through.")
        {
            once,
            port,
            keep,
        };
        command.AddExamples(
            ("mfrelay demo", "stays up until Ctrl-C for mail of your own"),
            ("mfrelay demo --once", "shows that the relay works here"),
            ("mfrelay demo --once --keep", "leaves the files of it to look at"));
        command.SetAction(async (result, cancel) =>
        {
            var options = new DemoOptions(result.GetValue(once), result.GetValue(port), result.GetValue(keep));
            return await Demo.RunAsync(options, result.InvocationConfiguration.Output, TimeProvider.System, cancel);
        });
        return command;
    }
}
