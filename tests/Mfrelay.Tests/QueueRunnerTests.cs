using System.Net;
using System.Net.Sockets;
using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>Days of a queue in virtual time: real table, real spool, real sockets, and a clock that the test turns.</summary>
public sealed class QueueRunnerTests : IAsyncDisposable
{
    private readonly State _state = new();
    private readonly VirtualTime _time = new(State.EnvelopeOf(new QueueId(1)).Arrival);
    private readonly CancellationTokenSource _stop = new();
    private readonly DirectoryInfo _run = Directory.CreateTempSubdirectory("mfrelay-run-");
    private QueueRunner? _runner;
    private Task _running = Task.CompletedTask;

    [Fact]
    public async Task What_nobody_takes_is_warned_of_once_then_returned_and_the_bounce_dropped_in_the_end()
    {
        await _state.AcceptAsync("Subject: x\r\n\r\ntext\r\n"u8.ToArray());
        await _state.RowsAsync();
        Start(new ClientSettings());
        await LineAsync("INFO_b211");
        await PassAsync(TimeSpan.FromHours(3.7));
        Assert.Empty(_state.LogLines("INFO_b109"));
        await PassAsync(TimeSpan.FromHours(1.5));
        Assert.EndsWith("kind=delayed", Assert.Single(_state.LogLines("INFO_b109")), StringComparison.Ordinal);

        await PassAsync(TimeSpan.FromDays(4.75));
        Assert.DoesNotContain(_state.LogLines("WARN_b108"), OfTheMessage);
        await PassAsync(TimeSpan.FromHours(2));
        await UntilAsync(() => Task.FromResult(_state.LogLines("WARN_b108").Any(OfTheMessage)));
        Assert.Contains("status=5.4.7", _state.LogLines("WARN_b108").Single(OfTheMessage), StringComparison.Ordinal);
        Assert.Single(_state.LogLines("INFO_b109"), line => line.EndsWith("kind=failed", StringComparison.Ordinal));

        await PassAsync(TimeSpan.FromDays(1.1));
        await LineAsync("WARN_b110");
        await UntilAsync(async () => (await _state.RowsAsync()).Count == 0);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(-1)]
    public async Task A_clock_that_jumps_by_a_day_neither_sends_all_at_once_nor_stops_the_queue(int days)
    {
        await _state.AcceptAsync("Subject: x\r\n\r\ntext\r\n"u8.ToArray());
        await _state.RowsAsync();
        Start(new ClientSettings { Retry = [TimeSpan.FromHours(1)], RetryJitter = 0, RecheckInterval = TimeSpan.FromHours(1), Lifetime = TimeSpan.FromHours(20) });
        await LineAsync("INFO_b211");
        await ChangeAsync(row => row with { Order = Order.Flush });
        await UntilAsync(async () =>
        {
            await PassAsync(TimeSpan.FromSeconds(2));
            return _state.LogLines("INFO_b103").Length == 2;
        });

        _time.Offset = TimeSpan.FromDays(days);
        await PassAsync(TimeSpan.FromMinutes(30));
        Assert.Single(_state.LogLines("WARN_b120"));
        Assert.Equal(2, _state.LogLines("INFO_b103").Length);
        Assert.Empty(_state.LogLines("WARN_b108"));
        Assert.Empty(_state.LogLines("INFO_b109"));

        // It is on the check list, so it is not sent; its delay warning after four hours shows that its hour goes round.
        await PassAsync(TimeSpan.FromHours(4.6));
        if (days > 0)
        {
            await LineAsync("INFO_b109");
            Assert.EndsWith("kind=delayed", Assert.Single(_state.LogLines("INFO_b109")), StringComparison.Ordinal);
        }
        await PassAsync(TimeSpan.FromHours(days > 0 ? 17 : 41));
        await UntilAsync(() => Task.FromResult(_state.LogLines("WARN_b108").Length > 0));
        Assert.Single(_state.LogLines("WARN_b120"));
    }

    [Fact]
    public async Task A_row_of_before_the_clock_was_set_back_does_not_wait_for_that_time_to_come_again()
    {
        await _state.AcceptAsync("Subject: x\r\n\r\ntext\r\n"u8.ToArray());
        DateTimeOffset tomorrow = _time.GetUtcNow().AddDays(1);
        await ChangeAsync(row => row with { NextAttempt = tomorrow, Attempts = 1 });
        await _state.RowsAsync();
        Start(new ClientSettings { Retry = [TimeSpan.FromMinutes(10)] });
        await UntilAsync(async () =>
        {
            await PassAsync(TimeSpan.FromMinutes(1));
            return _state.LogLines("INFO_b101").Length > 0;
        });
        Assert.True(_time.GetUtcNow() < tomorrow.AddHours(-12));
    }

    [Fact]
    public async Task A_message_is_held_released_returned_deleted_as_ordered()
    {
        await _state.AcceptAsync("Subject: x\r\n\r\ntext\r\n"u8.ToArray());
        await ChangeAsync(row => row with { Hold = true });
        await _state.RowsAsync();
        Start(new ClientSettings());
        await PassAsync(TimeSpan.FromHours(1));
        Assert.Empty(_state.LogLines("INFO_b101"));

        await ChangeAsync(row => row with { Hold = false });
        await PassAsync(TimeSpan.FromSeconds(3));
        await LineAsync("INFO_b101");
        await LineAsync("INFO_b211");
        int attempts = _state.LogLines("INFO_b101").Length;

        // Although its mail server is on the check list.
        await ChangeAsync(row => row with { Order = Order.Flush });
        await UntilAsync(async () =>
        {
            await PassAsync(TimeSpan.FromSeconds(2));
            return _state.LogLines("INFO_b101").Length == attempts + 1;
        });

        await ChangeAsync(row => row with { Order = Order.Bounce });
        await UntilAsync(async () =>
        {
            await PassAsync(TimeSpan.FromSeconds(2));
            return _state.LogLines("INFO_b109").Length == 1;
        });
        await UntilAsync(async () => (await _state.RowsAsync()) is [{ ReversePath: "" }]);

        using (var journal = new DoneJournal(_state.Spool))
        {
            Delivery bounce = (await _state.RowsAsync())[0];
            journal.Append(bounce.Position.Segment, [new SettledRecipient(bounce.Position, 0)]);
        }
        await ChangeAsync(row => row with { Order = Order.Delete });
        await UntilAsync(async () =>
        {
            await PassAsync(TimeSpan.FromSeconds(2));
            return (await _state.RowsAsync()).Count == 0;
        });
        Assert.Empty(_state.LogLines("WARN_b110"));
        Assert.Empty(_state.LogLines("ERROR"));
    }

    [Fact]
    public async Task The_summary_counts_what_waits_by_route()
    {
        for (int i = 0; i < 3; i++)
            await _state.AcceptAsync("Subject: x\r\n\r\ntext\r\n"u8.ToArray());
        await _state.RowsAsync();
        Start(new ClientSettings());
        await LineAsync("INFO_b211");
        QueueSummary? summary = null;
        await UntilAsync(async () =>
        {
            await PassAsync(TimeSpan.FromSeconds(6));
            using QueueStore store = _state.Store();
            summary = await store.RunAsync(table => table.ReadSummary());
            return summary is { Routes: [{ Active: 0 }] };
        });
        RouteSummary route = summary!.Routes[0];
        Assert.Equal(("example.com", 3, 3 * 1024L, 0), (route.Route, route.Count, route.Octets, route.Held));
        Assert.Equal(State.EnvelopeOf(new QueueId(1)).Arrival.ToUnixTimeSeconds(), route.Oldest.ToUnixTimeSeconds());
        Assert.True(route.NextDue > _time.GetUtcNow());
        Assert.Contains("connect", route.LastReply, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_domain_that_has_left_the_config_keeps_the_number_of_attempts_of_its_mail()
    {
        await _state.AcceptAsync("Subject: x\r\n\r\ntext\r\n"u8.ToArray());
        await _state.RowsAsync();
        Start(new ClientSettings(), domain: "other.test");
        await PassAsync(TimeSpan.FromHours(6));
        await LineAsync("INFO_b109");
        await UntilAsync(async () => (await _state.RowsAsync()).Any(row => row.Warned));
        Assert.Equal(0, (await _state.RowsAsync()).Single(row => row.Warned).Attempts);
    }

    [Fact]
    public async Task A_reload_while_mail_waits_to_be_returned_returns_each_once()
    {
        const int Count = 400;
        await _state.AcceptAsync([.. Enumerable.Range(0, Count).Select(i => System.Text.Encoding.ASCII.GetBytes($"Subject: {i}\r\n\r\ntext\r\n"))]);
        using (QueueStore store = _state.Store())
        {
            await store.RunAsync(table =>
            {
                store.CatchUp(SpoolOwner.Server, table);
                foreach (Delivery row in table.ReadAfter(0, int.MaxValue))
                    table.Replace(row.Key, row with { Order = Order.Bounce });
            });
        }
        Start(new ClientSettings());
        await LineAsync("INFO_b109");
        for (int i = 0; i < 3; i++)
            await _runner!.ReloadAsync(_runner.Settings);
        await UntilAsync(async () =>
        {
            await PassAsync(TimeSpan.FromSeconds(2));
            return (await _state.RowsAsync()).All(row => row.ReversePath.Length == 0);
        });
        string[] returned = [.. _state.LogLines("INFO_b109").Select(line => line.Split(' ')[1])];
        Assert.Equal(Count, returned.Length);
        Assert.Equal(Count, returned.Distinct(StringComparer.Ordinal).Count());
    }

    [Fact]
    public async Task A_drain_for_a_time_ends_with_a_line_and_one_that_is_over_begins_with_none()
    {
        using (QueueStore store = _state.Store())
        {
            DateTimeOffset now = _time.GetUtcNow();
            await store.RunAsync(table => table.SetDrains([new Drain("* 192.0.2.1:25", now - TimeSpan.FromDays(1), now - TimeSpan.FromHours(1), "over"),
                new Drain("* 192.0.2.2:25", now, now + TimeSpan.FromMinutes(5), "disks")]));
        }
        Start(new ClientSettings());
        await LineAsync("INFO_b221");
        await PassAsync(TimeSpan.FromMinutes(4));
        Assert.Empty(_state.LogLines("INFO_b222"));
        await PassAsync(TimeSpan.FromMinutes(2));
        Assert.Contains("192.0.2.2:25", await LineAsync("INFO_b222"), StringComparison.Ordinal);
        Assert.Contains("disks", Assert.Single(_state.LogLines("INFO_b221")), StringComparison.Ordinal);
    }

    private static bool OfTheMessage(string line) => line.Contains("from=<a@example.org>", StringComparison.Ordinal);

    /// <summary>Every mail server refuses connections.</summary>
    private void Start(ClientSettings client, string domain = "example.com")
    {
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        probe.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.9"), 0));
        int port = ((IPEndPoint)probe.LocalEndPoint!).Port;
        var settings = new Settings
        {
            Client = client,
            RunDirectory = _run.FullName,
            MailServers =
            [
                new MailServer { Domain = domain, Host = "127.0.0.9", Port = port },
                new MailServer { Domain = "example.org", Host = "127.0.0.9", Port = port },
            ],
        };
        _runner = new QueueRunner(settings, _state.Directory, _state.Log, _time);
        _running = RunAsync(_runner);
    }

    private async Task RunAsync(QueueRunner runner)
    {
        await runner.OpenAsync();
        await runner.RunAsync(_stop.Token);
    }

    /// <summary>Lets time pass in steps small enough for every timer to find its moment.</summary>
    private async Task PassAsync(TimeSpan span)
    {
        TimeSpan step = span > TimeSpan.FromHours(3) ? TimeSpan.FromMinutes(10) : span > TimeSpan.FromMinutes(2) ? TimeSpan.FromMinutes(1) : TimeSpan.FromSeconds(1);
        for (TimeSpan passed = default; passed < span; passed += step)
        {
            _time.Advance(step);
            await Task.Delay(2, TestContext.Current.CancellationToken);
        }
    }

    private async Task<string> LineAsync(string code)
    {
        await UntilAsync(() => Task.FromResult(_state.LogLines(code).Length > 0));
        return _state.LogLines(code)[^1];
    }

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        for (int i = 0; i < 500; i++)
        {
            if (await condition())
                return;
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
        Assert.Fail("It did not come to that");
    }

    private async Task ChangeAsync(Func<Delivery, Delivery> change)
    {
        Delivery row = Assert.Single(await _state.RowsAsync());
        using QueueStore store = _state.Store();
        Assert.True(await store.RunAsync(table => table.Replace(row.Key, change(row))));
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        if (_runner is not null)
            await _runner.DisposeAsync();
        _stop.Dispose();
        _run.Delete(recursive: true);
        _state.Dispose();
    }
}
