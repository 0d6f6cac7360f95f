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

    private async Task<IReadOnlyList<Drain>> DrainsAsync()
    {
        IReadOnlyList<Drain> drains = [];
        await _run.StoreAsync(table => drains = table.Drains);
        return drains;
    }
}
