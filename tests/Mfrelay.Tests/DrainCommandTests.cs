using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class DrainCommandTests : IDisposable
{
    private readonly CommandRun _run = new("""
        mail_server = [
          { domain = "example.com", host = "10.0.0.1" },
          { domain = "example.com", host = "10.0.0.2" },
        ]
        """);

    public void Dispose() => _run.Dispose();

    [Fact]
    public async Task A_drain_stands_in_the_table_until_it_is_resumed()
    {
        await _run.StoreAsync(_ => { });
        Assert.Equal(0, _run.Invoke("drain", "10.0.0.1", "--for", "2h", "--reason", "new disks"));
        Drain drain = Assert.Single(await DrainsAsync());
        Assert.Equal(new Drain("example.com 10.0.0.1:25", CommandRun.Now, CommandRun.Now.AddHours(2), "new disks"), drain);
        Assert.Equal(0, _run.Invoke("drain"));
        Assert.Contains("new disks", _run.Lines[1], StringComparison.Ordinal);
        Assert.Equal(0, _run.Invoke("drain", "example.com"));
        Assert.Equal(2, (await DrainsAsync()).Count);
        Assert.Equal(0, _run.Invoke("resume", "example.com"));
        Assert.Empty(await DrainsAsync());
        Assert.Equal(1, _run.Invoke("resume", "example.com"));
    }

    [Theory]
    [InlineData("10.0.0.9")]
    [InlineData("10.0.0.9:25")]
    [InlineData("gone.example")]
    [InlineData("gone.example 10.0.0.9:25")]
    public async Task A_drained_mail_server_that_has_left_the_config_can_be_resumed(string name)
    {
        await _run.StoreAsync(table => table.SetDrains(
            [new Drain("gone.example 10.0.0.9:25", CommandRun.Now, CommandRun.Now.AddHours(1), ""), new Drain("example.com 10.0.0.91:25", CommandRun.Now, CommandRun.Now.AddHours(1), "")]));
        Assert.Equal(0, _run.Invoke("resume", name));
        Assert.Equal("example.com 10.0.0.91:25", Assert.Single(await DrainsAsync()).Key);
    }

    [Theory]
    [InlineData("drain", "10.0.0.1")]
    [InlineData("resume", "10.0.0.1")]
    [InlineData("queue", "hold")]
    public async Task While_a_daemon_of_another_version_runs_nothing_is_changed(params string[] command)
    {
        await _run.StoreAsync(table => table.SetDrains([new Drain("example.com 10.0.0.1:25", CommandRun.Now, CommandRun.Now.AddHours(1), "as it was")]));
        using var daemon = new NamedProcess("mf-smtp-client", _run.RunDirectory, "0.9.0");
        Assert.Equal(73, _run.Invoke(command));
        Assert.Contains($"mf-smtp-client (pid {daemon.Id}) is version 0.9.0", _run.Error, StringComparison.Ordinal);
        Assert.Equal("as it was", Assert.Single(await DrainsAsync()).Reason);
    }

    [Fact]
    public async Task An_unknown_mail_server_is_exit_1()
    {
        await _run.StoreAsync(_ => { });
        Assert.Equal(1, _run.Invoke("drain", "10.9.9.9"));
        Assert.Contains("no mail server is called 10.9.9.9", _run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Shown_settings_are_a_config_file_that_says_the_same()
    {
        Assert.Equal(0, _run.Invoke("config", "show"));
        string shown = Path.Combine(_run.RunDirectory, "shown.toml");
        File.WriteAllText(shown, _run.Output);
        ConfigLoad load = ConfigFile.Load(shown);
        Assert.Empty(load.Errors);
        Assert.Equal(ConfigText.Flat(ConfigFile.Load(_run.Config).Settings!), ConfigText.Flat(load.Settings!));
    }

    [Fact]
    public async Task Status_without_daemons_shows_the_queue_and_is_exit_1()
    {
        await _run.StoreAsync(table => table.Insert([CommandRun.Delivery(1, "example.com", TimeSpan.FromMinutes(3))]));
        Assert.Equal(1, _run.Invoke("status"));
        Assert.Contains("not running", _run.Lines[0], StringComparison.Ordinal);
        Assert.Contains("1, 1.0 KiB, 0 held, oldest 3m", _run.Output, StringComparison.Ordinal);
        Assert.Equal(1, _run.Invoke("config", "diff"));
        Assert.Equal(0, _run.Invoke("version"));
    }

    [Fact]
    public async Task What_a_daemon_of_another_version_runs_on_is_not_taken_for_the_same()
    {
        await _run.StoreAsync(_ => { });
        using var daemon = new NamedProcess("mf-smtp-server", _run.RunDirectory, "0.9.0");
        Assert.Equal(1, _run.Invoke("config", "diff"));
        Assert.DoesNotContain("no difference", _run.Output, StringComparison.Ordinal);
        Assert.Equal("mfrelay: what mf-smtp-server (0.9.0) runs on cannot be read; restart it (systemctl restart mf-smtp-server)\n", _run.Error);
    }

    [Fact]
    public async Task Diff_names_what_was_written_of_a_mail_server_that_goes_and_the_mail_that_loses_its_route()
    {
        await _run.StoreAsync(table => table.Insert([CommandRun.Delivery(1, "example.com", TimeSpan.FromMinutes(3)), CommandRun.Delivery(2, "gone.example", TimeSpan.FromMinutes(3))]));
        using var daemon = new NamedProcess("mf-smtp-client", _run.RunDirectory);
        string running = await File.ReadAllTextAsync(_run.Config, TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(Path.Join(_run.RunDirectory, "mf-smtp-client.toml"),
            running.Replace("mail_server = [", "mail_server = [ { domain = \"gone.example\", host = \"10.0.0.9\", when_down = \"queue\" },", StringComparison.Ordinal), TestContext.Current.CancellationToken);
        Assert.Equal(1, _run.Invoke("config", "diff"));
        Assert.Equal(
            [
                "mf-smtp-client:",
                "- mail_server gone.example 10.0.0.9:25: domain = \"gone.example\"",
                "- mail_server gone.example 10.0.0.9:25: host = \"10.0.0.9\"",
                "- mail_server gone.example 10.0.0.9:25: when_down = \"queue\"",
                "queued deliveries that would change route: 0",
                "queued deliveries that would have no mail server: 1",
            ],
            _run.Lines);
    }

    private async Task<IReadOnlyList<Drain>> DrainsAsync()
    {
        IReadOnlyList<Drain> drains = [];
        await _run.StoreAsync(table => drains = table.Drains);
        return drains;
    }
}
