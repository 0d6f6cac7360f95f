using System.Diagnostics;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>Looks at the [alert] rules from time to time; writes what changed to the journal and tells the operator's program and webhook.</summary>
internal sealed class AlertWatch(QueueRunner runner, StateDirectory directory, AlertWebhook webhook)
{
    private readonly AlertBoard _board = new();
    private volatile IReadOnlyList<Alert> _up = [];

    public string Status { get; private set; } = "";

    /// <summary>Those that are up.</summary>
    public IReadOnlyList<Alert> Up => _up;

    public async Task RunAsync(CancellationToken cancel)
    {
        try
        {
            while (true)
            {
                await Task.Delay(runner.Settings.Alert.Interval, runner.Time, cancel);
                if (runner.Settings.Alert.IsOn || Status.Length > 0)
                    await LookAsync(runner.Settings.Alert, cancel);
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    internal async Task LookAsync(AlertSettings rules, CancellationToken cancel)
    {
        try
        {
            (QueueSummary? queue, IReadOnlyList<MailServerHealth> health) = await runner.Store.RunAsync(table => (table.ReadSummary(), table.ReadHealth()));
            (IReadOnlyList<Alert> raised, IReadOnlyList<Alert> cleared) =
                _board.Look(new AlertFacts(runner.Time.GetUtcNow(), queue, health, directory.Root, directory.Room()), rules);
            (Status, _up) = (_board.Status, _board.Up);
            foreach (Alert alert in raised)
                await TellAsync(LogEvents.AlertRaised, alert, rules, () => runner.Log.AlertRaised(alert), cancel);
            foreach (Alert alert in cleared)
                await TellAsync(LogEvents.AlertCleared, alert, rules, () => runner.Log.AlertCleared(alert), cancel);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            runner.Log.Unexpected("alerts", e);
        }
    }

    /// <summary>The journal first: it does not depend on anything that may be stuck.</summary>
    private async Task TellAsync(LogEvent change, Alert alert, AlertSettings rules, Action log, CancellationToken cancel)
    {
        log();
        string what = change == LogEvents.AlertRaised ? "raised" : "cleared";
        if (rules.Webhook.Length > 0)
        {
            webhook.Send(rules, new AlertNotice(
                change.Code, what, alert.RuleName, alert.Subject, alert.Value, alert.Since, runner.Time.GetUtcNow(), runner.Settings.HostName));
        }
        if (rules.Exec.Length == 0)
            return;
        var start = new ProcessStartInfo(rules.Exec, [what, alert.RuleName, alert.Subject, alert.Value]) { UseShellExecute = false, RedirectStandardInput = true };
        try
        {
            using Process process = Process.Start(start)!;
            process.StandardInput.Close();
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(rules.ExecTimeout);
            try
            {
                await process.WaitForExitAsync(limit.Token);
                if (process.ExitCode != 0)
                    runner.Log.AlertHookFailed(rules.Exec, $"exit code {process.ExitCode}");
            }
            catch (OperationCanceledException)
            {
                process.Kill(entireProcessTree: true);
                runner.Log.AlertHookFailed(rules.Exec, "timeout");
            }
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or InvalidOperationException)
        {
            runner.Log.AlertHookFailed(rules.Exec, e.Message);
        }
    }
}
