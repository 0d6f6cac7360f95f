using System.Diagnostics;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Looks at the [alert] rules from time to time; writes what changed to the journal and tells the operator's program and webhook. What was told
/// is remembered (<see cref="AlertMemory"/>) when all have been told: who is interrupted begins anew, rather twice than never.
/// </summary>
internal sealed class AlertWatch(QueueRunner runner, StateDirectory directory, AlertWebhook webhook)
{
    private readonly AlertBoard _board = new();
    private volatile IReadOnlyList<Alert> _up = [];
    private IReadOnlyList<Alert> _told = [];
    private AlertMemory _remembered = AlertMemory.Empty;

    public string Status { get; private set; } = "";

    /// <summary>Those that are up.</summary>
    public IReadOnlyList<Alert> Up => _up;

    public async Task RunAsync(CancellationToken cancel)
    {
        try
        {
            Recall();
            while (true)
            {
                await Task.Delay(runner.Settings.Alert.Interval, runner.Time, cancel);
                if (runner.Settings.Alert.IsOn || Status.Length > 0)
                    await LookAsync(runner.Settings.Alert, cancel);
                Remember();
            }
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    /// <summary>What the process before this one left.</summary>
    internal void Recall()
    {
        _remembered = AlertMemory.Read(directory);
        _board.Restore(_remembered.Up);
        (Status, _up, _told) = (_board.Status, _board.Up, _board.Up);
        foreach (AlertNotice notice in _remembered.Notices)
            webhook.Send(runner.Settings.Alert, notice);
    }

    /// <summary>Once more after the end of the webhook's queue, which may have got something out.</summary>
    public void Remember()
    {
        var now = new AlertMemory(_told, webhook.Waiting);
        // Values change with every look, and need no writing.
        if (now.Notices.SequenceEqual(_remembered.Notices) && now.Up.Select(Identity).SequenceEqual(_remembered.Up.Select(Identity)))
            return;
        try
        {
            now.Write(directory);
            _remembered = now;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // No room: the next look tries again.
        }
    }

    private static (AlertRule, string, DateTimeOffset) Identity(Alert alert) => (alert.Rule, alert.Subject, alert.Since);

    internal async Task LookAsync(AlertSettings rules, CancellationToken cancel)
    {
        try
        {
            (QueueSummary? queue, IReadOnlyList<MailServerHealth> health) = await runner.Store.RunAsync(table => (table.ReadSummary(), table.ReadHealth()));
            (IReadOnlyList<Alert> raised, IReadOnlyList<Alert> cleared) =
                _board.Look(new AlertFacts(runner.Time.GetUtcNow(), queue, health, directory.Root, directory.Room()), rules);
            (Status, _up) = (_board.Status, _board.Up);
            // The journal first: it does not depend on anything that may be stuck. Then the webhook, which does not wait either.
            foreach (Alert alert in raised)
            {
                runner.Log.AlertRaised(alert);
                Post(LogEvents.AlertRaised, "raised", alert, rules);
            }
            foreach (Alert alert in cleared)
            {
                runner.Log.AlertCleared(alert);
                Post(LogEvents.AlertCleared, "cleared", alert, rules);
            }
            foreach (Alert alert in raised)
                await RunHookAsync("raised", alert, rules, cancel);
            foreach (Alert alert in cleared)
                await RunHookAsync("cleared", alert, rules, cancel);
            _told = _board.Up;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            runner.Log.Unexpected("alerts", e);
        }
    }

    private void Post(LogEvent change, string what, Alert alert, AlertSettings rules)
    {
        webhook.Send(rules, new AlertNotice(
            change.Code, what, alert.RuleName, alert.Subject, alert.Value, alert.Since, runner.Time.GetUtcNow(), runner.Settings.HostName));
    }

    private async Task RunHookAsync(string what, Alert alert, AlertSettings rules, CancellationToken cancel)
    {
        if (rules.Exec.Length == 0)
            return;
        var start = new ProcessStartInfo(rules.Exec, [what, alert.RuleName, alert.Subject, alert.Value]) { UseShellExecute = false, RedirectStandardInput = true };
        start.Environment.Remove(DaemonProgram.InlineCompletions); // ours alone
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
                cancel.ThrowIfCancellationRequested();
                runner.Log.AlertHookFailed(rules.Exec, "timeout");
            }
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or InvalidOperationException)
        {
            runner.Log.AlertHookFailed(rules.Exec, e.Message);
        }
    }
}
