using System.Text.Json;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class TopCommandTests : IDisposable
{
    private readonly CommandRun _run = new("[alert]\nqueue_size = 1\n[[mail_server]]\ndomain = \"example.com\"\nhost = \"192.0.2.1\"");

    public void Dispose() => _run.Dispose();

    [Fact]
    public async Task Once_it_prints_tables_with_the_queue_and_why()
    {
        await SeedAsync();
        Assert.Equal(0, _run.Invoke("top", "--once"));
        Assert.StartsWith($"mfrelay top  relay.example  {CommandRun.Now.ToLocalTime():yyyy-MM-dd HH:mm:ss}", _run.Lines[0], StringComparison.Ordinal);
        Assert.DoesNotContain(_run.Output, c => c == '\e');
        Assert.Contains(_run.Lines, line => line == "mf-smtp-server  not running");
        Assert.Contains(_run.Lines, line => line.StartsWith("mail servers    1 registered, 0 not reached, 1 on the check list, 0 drained", StringComparison.Ordinal));
        Assert.Contains(_run.Lines, line => line == "queue 1, 1.0 KiB, 0 held");
        string queue = _run.Lines[^1];
        Assert.StartsWith("example.com  1      1.0 KiB", queue, StringComparison.Ordinal);
        Assert.EndsWith("192.0.2.1:25(check list)  450 busy", queue, StringComparison.Ordinal);
    }

    [Fact]
    public async Task In_Japanese_too()
    {
        await SeedAsync();
        _run.Environment["LANG"] = "ja_JP.UTF-8";
        Assert.Equal(0, _run.Invoke("top", "--once"));
        Assert.Contains("キュー 1 件", _run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task As_JSON_each_look_is_a_line()
    {
        await SeedAsync();
        Assert.Equal(0, _run.Invoke("top", "--once", "--json"));
        Assert.Single(_run.Lines);
        JsonElement look = _run.Json();
        Assert.Equal(1, look.GetProperty("status").GetProperty("queue").GetProperty("deliveries").GetInt32());
        Assert.Equal("450 busy", look.GetProperty("routes")[0].GetProperty("last_reply").GetString());
    }

    [Theory]
    [InlineData("0s")]
    [InlineData("1")]
    [InlineData("2h")]
    public void An_interval_that_makes_no_sense_is_refused(string interval)
    {
        Assert.Equal(64, _run.Invoke("top", "--interval", interval));
        Assert.Contains("write 200ms, 1s, 5m", _run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Figures_of_daemons_that_run_are_in_status_and_those_of_dead_ones_are_not()
    {
        await SeedAsync();
        foreach (string name in new[] { "mf-smtp-server", "mf-smtp-client" })
        {
            new DaemonFigures(CommandRun.Now, CommandRun.Now.AddMinutes(-90), 7,
                name == "mf-smtp-server" ? [new Figure(Figure.Accepted, 1234, 1.5, 90, 61.4), new Figure(Figure.Refused, 0, 0, 0, 0)]
                    : [new Figure(Figure.Delivered, 1000, 0, 0.4, 12345.6)],
                name == "mf-smtp-client" ? [new RaisedAlert("queue_size", "queue", "7", CommandRun.Now.AddMinutes(-5))] : []).Write(_run.RunDirectory, name);
        }
        Assert.Equal(1, _run.Invoke("status"));
        Assert.DoesNotContain("accepted", _run.Output, StringComparison.Ordinal);
        Assert.Contains("alerts          none", _run.Output, StringComparison.Ordinal);

        // Processes with the names of the daemons: the pid files are believed only then.
        using var server = new NamedProcess("mf-smtp-server", _run.RunDirectory);
        using var client = new NamedProcess("mf-smtp-client", _run.RunDirectory);
        Assert.Equal(0, _run.Invoke("status"));
        Assert.Contains("up 1h30m, 7 connections)", _run.Output, StringComparison.Ordinal);
        Assert.Contains(_run.Lines, line => line == "per minute (1m/5m)  accepted 90/61, delivered 0.4/12,346, refused 0/0");
        Assert.Contains(_run.Lines, line => line == "alerts              queue_size queue 7 (5m)");
        Assert.Equal(0, _run.Invoke("status", "--json"));
        JsonElement json = _run.Json();
        Assert.Equal("queue_size", json.GetProperty("alerts")[0].GetProperty("rule").GetString());
        Assert.Equal(90, json.GetProperty("daemons")[0].GetProperty("rates")[0].GetProperty("per_minute").GetDouble());
        Assert.Equal(0, _run.Invoke("top", "--once"));
        Assert.Contains(_run.Lines, line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is ["accepted", "1.5", "90", "61", "1,234"]);
    }

    private Task SeedAsync() => _run.StoreAsync(table =>
    {
        table.PutHealth(CommandRun.View(HealthOwner.Client, "192.0.2.1", HealthState.Down));
        table.Insert([CommandRun.Delivery(1, "example.com", TimeSpan.FromHours(1)) with { LastReply = "450 busy" }]);
    });
}
