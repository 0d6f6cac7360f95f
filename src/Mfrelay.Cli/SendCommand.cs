using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay send": a test mail through the running mf-smtp-server, with the dialog shown.</summary>
internal sealed class SendCommand(CommandContext context)
{
    private readonly Argument<string> _to = new("ADDRESS") { Description = "The recipient." };
    private readonly Option<string> _from = new("--from") { Description = "The sender; empty is the null reverse-path.", HelpName = "ADDRESS", DefaultValueFactory = _ => "" };
    private readonly Option<string> _subject = new("--subject") { Description = "Of the test mail.", DefaultValueFactory = _ => "mfrelay test" };
    private readonly Option<string> _config = CommandSupport.ConfigOption();

    public Command Create()
    {
        var command = new Command("send", "Send a test mail through mf-smtp-server and show the dialog (exit status 1: it was refused).") { _to, _from, _subject, _config };
        command.AddExamples(
            ("mfrelay send postmaster@example.com", "does it get in?"),
            ("mfrelay send user@example.com --from me@example.org", "with a sender; the last reply has the queue id"));
        command.SetAction((result, cancel) => RunAsync(result.GetRequiredValue(_config), result.GetRequiredValue(_to), result.GetRequiredValue(_from),
            result.GetRequiredValue(_subject), result.InvocationConfiguration, cancel));
        return command;
    }

    private async Task<int> RunAsync(string config, string to, string from, string subject, InvocationConfiguration console, CancellationToken cancel)
    {
        if (CommandSupport.LoadSettings(config, console.Error) is not { } settings)
            return ConfigLoad.ExitCode;
        if ($"{to}{from}{subject}".AsSpan().ContainsAny("\r\n<>"))
        {
            console.Error.Line("mfrelay: no line breaks and no < > in an address or a subject");
            return CommandSupport.WrongUse;
        }
        IPEndPoint server = LocalServer.AddressOf(settings);
        DateTimeOffset now = context.Time.GetUtcNow();
        string mail = string.Create(CultureInfo.InvariantCulture, $"""
            Date: {now:ddd, d MMM yyyy HH:mm:ss} +0000
            From: <{(from.Length == 0 ? $"postmaster@{settings.HostName}" : from)}>
            To: <{to}>
            Subject: {subject}
            Message-ID: <{now.ToUnixTimeMilliseconds()}.{Environment.ProcessId}@{settings.HostName}>

            A test mail of mfrelay send.

            """).ReplaceLineEndings("\r\n");
        try
        {
            (SmtpDialog dialog, _) = await SmtpDialog.ConnectAsync(server, cancel, console.Output.WriteLine);
            using (dialog)
            {
                await dialog.SendAsync(settings.HostName, from, to, mail, cancel);
                await dialog.QuitAsync(cancel);
            }
            return 0;
        }
        catch (Exception e) when (e is SocketException or IOException or DialogException)
        {
            console.Error.Line($"mfrelay: {server}: {e.Message}");
            return CommandSupport.Failed;
        }
    }
}
