using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>
/// "mfrelay queue import DIR": hands what "queue export" wrote to the running mf-smtp-server by SMTP, with the envelope as it was. So there is
/// one way into the spool, and its rules hold: who may send, which domains are registered. Each message gets a new id and one more Received field.
/// </summary>
internal sealed class QueueImportCommand(CommandContext context)
{
    private readonly Argument<string> _directory = new("DIR") { Description = "Where queue export wrote to." };
    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command Create()
    {
        var command = new Command("import", "Hand exported mail to the running mf-smtp-server; what it took is renamed to .imported (exit status 1: not all).")
        {
            _directory,
            _config,
            _json,
        };
        command.AddExamples(
            ("mfrelay queue import ./mail", "run again, it goes on where it stopped"),
            ("mfrelay queue import ./mail --json | jq .refused", "what the server did not take"));
        command.SetAction((result, cancel) => RunAsync(
            result.GetRequiredValue(_config), result.GetRequiredValue(_directory), result.GetValue(_json), result.InvocationConfiguration, cancel));
        return command;
    }

    private async Task<int> RunAsync(string config, string directory, bool asJson, InvocationConfiguration console, CancellationToken cancel)
    {
        if (CommandSupport.LoadSettings(config, console.Error) is not { } settings)
            return ConfigLoad.ExitCode;
        Language language = context.LanguageOf(settings);
        string[] files = Directory.Exists(directory) ? [.. Directory.GetFiles(directory, "*.json").Order(StringComparer.Ordinal)] : [];
        if (files.Length == 0)
        {
            console.Error.Line(language.Say($"mfrelay: {directory} に取り込むメールがありません", $"mfrelay: there is nothing to import in {directory}"));
            return CommandSupport.Failed;
        }
        IPEndPoint server = LocalServer.AddressOf(settings);
        var progress = new Progress(console.Error, context.Time, language.Say("取り込み中", "importing"));
        var refused = new List<(string File, string Reason)>();
        int taken = 0;
        SmtpDialog dialog;
        try
        {
            (dialog, _) = await SmtpDialog.ConnectAsync(server, cancel);
        }
        catch (Exception e) when (e is SocketException or DialogException or IOException)
        {
            console.Error.Line(language.Say(
                $"mfrelay: mf-smtp-server ({server}) に接続できません。取り込みには起動が必要です: {e.Message}",
                $"mfrelay: mf-smtp-server does not answer at {server}; import needs it to run: {e.Message}"));
            return CommandSupport.Failed;
        }
        using (dialog)
        {
            await dialog.HelloAsync(settings.HostName, cancel);
            foreach (string file in files)
            {
                try
                {
                    await ImportAsync(dialog, file, cancel);
                    progress.Report(++taken, files.Length);
                }
                catch (Exception e) when (e is DialogException or IOException or JsonException or UnauthorizedAccessException)
                {
                    refused.Add((file, e.Message));
                    if (!await ResetAsync(dialog, cancel))
                        break;
                }
            }
        }
        progress.Clear();
        if (asJson)
            console.Output.WriteJson(new { Imported = taken, Of = files.Length, Refused = refused.Select(item => new { item.File, item.Reason }) });
        else
            Print(taken, files.Length, refused, language, console);
        return taken == files.Length ? 0 : CommandSupport.Failed;
    }

    private static void Print(int taken, int all, List<(string File, string Reason)> refused, Language language, InvocationConfiguration console)
    {
        console.Output.WriteLine(language.Say($"{all} 件のうち {taken} 件を取り込みました", $"{taken} of {all} imported"));
        foreach ((string file, string reason) in refused)
            console.Error.WriteLine($"mfrelay: {file}: {reason}");
    }

    private static async Task ImportAsync(SmtpDialog dialog, string file, CancellationToken cancel)
    {
        EnvelopeFile envelope = StoredMail.Read(file) ?? throw new JsonException("no envelope");
        if (envelope.Version != 1)
            throw new JsonException($"version {envelope.Version}; this program knows 1");
        if (envelope.Body == BodyType.BinaryMime)
            throw new JsonException("BODY=BINARYMIME cannot be sent with DATA");
        byte[] data = await File.ReadAllBytesAsync(Path.ChangeExtension(file, ".eml"), cancel);
        await dialog.SendAsync(envelope.Commands(), data, cancel);
        File.Move(file, $"{file}.imported", overwrite: true);
    }

    /// <summary>False: the connection is of no use any more.</summary>
    private static async Task<bool> ResetAsync(SmtpDialog dialog, CancellationToken cancel)
    {
        try
        {
            await dialog.ResetAsync(cancel);
            return true;
        }
        catch (Exception e) when (e is DialogException or IOException)
        {
            return false;
        }
    }
}

/// <summary>mf-smtp-server of this machine.</summary>
internal static class LocalServer
{
    /// <summary>The first listener, through loopback where it takes every address.</summary>
    public static IPEndPoint AddressOf(Settings settings)
    {
        IPEndPoint listen = settings.EndPoints.First(); // those of server.listen come before the [[listener]] tables
        return listen.Address.Equals(IPAddress.Any) ? new IPEndPoint(IPAddress.Loopback, listen.Port)
            : listen.Address.Equals(IPAddress.IPv6Any) ? new IPEndPoint(IPAddress.IPv6Loopback, listen.Port)
            : listen;
    }
}
