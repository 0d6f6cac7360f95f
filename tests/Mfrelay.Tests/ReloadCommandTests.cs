using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ReloadCommandTests : IDisposable
{
    private readonly CommandRun _run = new("");

    public void Dispose() => _run.Dispose();

    [Fact]
    public void Nobody_running_is_exit_1()
    {
        Assert.Equal(1, _run.Invoke("reload"));
        Assert.Equal(["mf-smtp-server is not running", "mf-smtp-client is not running"], _run.Lines);
    }

    [Fact]
    public async Task A_running_daemon_gets_SIGHUP()
    {
        // A process of that name which dies of the signal.
        string program = Path.Combine(_run.State, "mf-smtp-server");
        File.Copy("/bin/sleep", program);
        using Process daemon = Process.Start(program, ["60"]);
        try
        {
            WritePid("mf-smtp-server", daemon.Id);
            await WaitForNameAsync(daemon.Id, "mf-smtp-server");
            Assert.Equal(0, _run.Invoke("reload"));
            Assert.Equal($"mf-smtp-server (pid {daemon.Id}) was told to read its config again", _run.Lines[0]);
            await daemon.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
            Assert.Equal(128 + 1, daemon.ExitCode);
        }
        finally
        {
            if (!daemon.HasExited)
                daemon.Kill();
        }
    }

    [Fact]
    public void A_pid_file_whose_number_another_process_has_now_signals_nobody()
    {
        WritePid("mf-smtp-client", Environment.ProcessId);
        Assert.Equal(1, _run.Invoke("reload", "--json"));
        JsonElement client = _run.Json().GetProperty("daemons")[1];
        Assert.Equal("mf-smtp-client", client.GetProperty("name").GetString());
        Assert.False(client.GetProperty("reloading").GetBoolean());
    }

    [Fact]
    public async Task A_bad_config_is_refused_before_anybody_is_told()
    {
        string program = Path.Combine(_run.State, "mf-smtp-server");
        File.Copy("/bin/sleep", program);
        using Process daemon = Process.Start(program, ["60"]);
        try
        {
            WritePid("mf-smtp-server", daemon.Id);
            await WaitForNameAsync(daemon.Id, "mf-smtp-server");
            await File.AppendAllTextAsync(_run.Config, "\nnonsense = 1\n", TestContext.Current.CancellationToken);
            Assert.Equal(78, _run.Invoke("reload"));
            Assert.Contains(":6: nonsense: unknown key", _run.Error, StringComparison.Ordinal);
            Assert.False(daemon.HasExited);
        }
        finally
        {
            daemon.Kill();
        }
    }

    private void WritePid(string name, int pid) =>
        File.WriteAllText(Path.Combine(_run.RunDirectory, $"{name}.pid"), pid.ToString(CultureInfo.InvariantCulture) + "\n");

    /// <summary>Between fork and exec the child still has our name.</summary>
    private static async Task WaitForNameAsync(int pid, string name)
    {
        while (!string.Equals((await File.ReadAllTextAsync($"/proc/{pid}/comm", TestContext.Current.CancellationToken)).Trim(), name, StringComparison.Ordinal))
            await Task.Delay(5, TestContext.Current.CancellationToken);
    }
}
