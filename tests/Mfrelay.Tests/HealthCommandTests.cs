using System.Text.Json;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class HealthCommandTests : IDisposable
{
    private readonly CommandRun _run = new("""
        mail_server = [
          { domain = "example.com", host = "10.0.0.1" },
          { domain = "example.com", host = "10.0.0.2" },
          { domain = "*", host = "mx.a-rather-long-name-that-must-not-be-broken.example.net", port = 2525 },
        ]
        """);

    public void Dispose() => _run.Dispose();

    [Fact]
    public async Task A_line_for_each_mail_server_shows_both_views_and_what_waits()
    {
        await SeedAsync();
        Assert.Equal(0, _run.Invoke("health"));
        Assert.Equal("", _run.Error);
        Assert.Equal(
            [
                "DOMAIN       MAIL SERVER                                                    SERVER       CLIENT      FOR    CHECKED  NEXT  FAILURES  WAITING  OLDEST  SIZE  TLS      CERT UNTIL  DELIVERED  LAST ERROR",
                "example.com  10.0.0.1:25                                                    reached      check list  10m    40s      4m    2         2        1h30m   25MB  TLSv1.3  2027-01-02  11m        timed out [!]",
                "example.com  10.0.0.2:25                                                    down         ok          2h00m  5s       55s   119       2        1h30m   -     -        -           -          Connection refused",
                "*            mx.a-rather-long-name-that-must-not-be-broken.example.net:2525 not checked  ok          -      -        -     0         0        -       -     -        -           -          -",
                "gone.example (not registered)                                               not checked  ok          -      -        -     0         1        3d0h    -     -        -           -          -",
            ],
            _run.Lines, Squeeze);
    }

    [Fact]
    public async Task Columns_align_also_in_Japanese()
    {
        await SeedAsync();
        _run.Environment["LANG"] = "ja_JP.UTF-8";
        Assert.Equal(0, _run.Invoke("health"));
        Assert.StartsWith("ドメイン", _run.Lines[0], StringComparison.Ordinal);
        Assert.Contains("接続可", _run.Lines[1], StringComparison.Ordinal);
        Assert.Contains("確認リスト", _run.Lines[1], StringComparison.Ordinal);
        int column = Cells(_run.Lines[0], "クライアント側");
        Assert.Equal(column, Cells(_run.Lines[1], "確認リスト"));
        Assert.Equal(column, Cells(_run.Lines[2], "正常"));
    }

    [Fact]
    public async Task Json_has_all_that_the_health_table_knows()
    {
        await SeedAsync();
        Assert.Equal(0, _run.Invoke("health", "--json"));
        JsonElement first = _run.Json()[0];
        Assert.Equal("10.0.0.1:25", first.GetProperty("mail_server").GetString());
        Assert.Equal(2, first.GetProperty("waiting").GetProperty("deliveries").GetInt32());
        JsonElement server = first.GetProperty("server");
        Assert.Equal("reached", server.GetProperty("state").GetString());
        JsonElement announced = server.GetProperty("announced");
        Assert.Equal(25_000_000, announced.GetProperty("size_limit").GetInt64());
        Assert.Equal(["SIZE", "STARTTLS"], announced.GetProperty("extensions").EnumerateArray().Select(item => item.GetString()!).ToArray());
        Assert.Equal(new DateTimeOffset(2027, 1, 2, 0, 0, 0, TimeSpan.Zero), announced.GetProperty("certificate_expiry").GetDateTimeOffset());
        JsonElement client = first.GetProperty("client");
        Assert.Equal(("down", "timed out [!]"), (client.GetProperty("state").GetString(), client.GetProperty("last_error").GetString()));
        Assert.Equal(CommandRun.Now.AddMinutes(-11), first.GetProperty("last_delivery").GetDateTimeOffset());
        Assert.Equal(JsonValueKind.Null, _run.Json()[2].GetProperty("server").ValueKind);
    }

    [Fact]
    public async Task More_mail_than_one_reading_of_the_table_is_counted_whole()
    {
        await _run.StoreAsync(table => table.Insert(Enumerable.Range(1, 2500).Select(i => CommandRun.Delivery(i, "example.com", TimeSpan.FromSeconds(i)))));
        Assert.Equal(0, _run.Invoke("health", "--json"));
        JsonElement waiting = _run.Json()[0].GetProperty("waiting");
        Assert.Equal(2500, waiting.GetProperty("deliveries").GetInt32());
        Assert.Equal(CommandRun.Now.AddSeconds(-2500), waiting.GetProperty("oldest").GetDateTimeOffset());
    }

    [Fact]
    public void A_missing_state_directory_is_told_and_not_made()
    {
        Directory.Delete(_run.State);
        Assert.Equal(73, _run.Invoke("health"));
        Assert.Equal($"mfrelay: there is no state directory {_run.State}: mf-smtp-server has never run, or state_directory names another one\n", _run.Error);
        Assert.False(Directory.Exists(_run.State));
    }

    [Fact]
    public void A_bad_config_is_exit_78()
    {
        File.AppendAllText(_run.Config, "\nnonsense = 1");
        Assert.Equal(78, _run.Invoke("health"));
        Assert.Contains("nonsense", _run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("health")]
    [InlineData("health", "check")]
    [InlineData("route")]
    [InlineData("reload")]
    [InlineData("simulate")]
    public void Help_has_examples(params string[] command)
    {
        Assert.Equal(0, _run.Invoke([.. command, "--help"]));
        Assert.Contains($"Examples:\n  mfrelay {string.Join(' ', command)}", _run.Output, StringComparison.Ordinal);
        Assert.Contains("[default: /etc/mfrelay/mfrelay.toml]", _run.Output, StringComparison.Ordinal);
    }

    private async Task SeedAsync()
    {
        await _run.SeedAsync(
            CommandRun.View(HealthOwner.Server, "10.0.0.1", HealthState.Reached) with
            {
                LastCheck = CommandRun.Now.AddSeconds(-40),
                Announced = new Announcement("SIZE STARTTLS", 25_000_000, "TLSv1.3", new DateTimeOffset(2027, 1, 2, 0, 0, 0, TimeSpan.Zero)),
            },
            CommandRun.View(HealthOwner.Client, "10.0.0.1", HealthState.Down) with
            {
                Since = CommandRun.Now.AddMinutes(-10),
                Failures = 2,
                LastError = "timed out [!]",
                NextCheck = CommandRun.Now.AddSeconds(290),
                LastDelivery = CommandRun.Now.AddMinutes(-11),
            },
            CommandRun.View(HealthOwner.Server, "10.0.0.2", HealthState.Down) with
            {
                LastCheck = CommandRun.Now.AddSeconds(-5),
                NextCheck = CommandRun.Now.AddSeconds(55),
                Failures = 119,
                LastError = "Connection refused",
            });
        await _run.StoreAsync(table => table.Insert(
        [
            CommandRun.Delivery(1, "example.com", TimeSpan.FromMinutes(90)),
            CommandRun.Delivery(2, "example.com", TimeSpan.FromMinutes(3)),
            CommandRun.Delivery(3, "gone.example", TimeSpan.FromDays(3)),
        ]));
    }

    /// <summary>Compares lines by their cells.</summary>
    private static bool Squeeze(string a, string b) => string.Equals(
        string.Join(' ', a.Split(' ', StringSplitOptions.RemoveEmptyEntries)),
        string.Join(' ', b.Split(' ', StringSplitOptions.RemoveEmptyEntries)),
        StringComparison.Ordinal);

    /// <summary>Terminal cells before a text: Japanese characters take two.</summary>
    private static int Cells(string line, string text) => line[..line.IndexOf(text, StringComparison.Ordinal)].Sum(c => c > 0x7f ? 2 : 1);
}
