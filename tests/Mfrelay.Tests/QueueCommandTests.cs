using System.Globalization;
using System.Text.Json;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class QueueCommandTests : IDisposable
{
    private readonly CommandRun _run = new("""
        mail_server = [
          { domain = "example.com", host = "10.0.0.1" },
          { domain = "*", host = "10.0.0.2" },
        ]
        """);

    public void Dispose() => _run.Dispose();

    [Fact]
    public async Task The_summary_counts_by_domain_when_nobody_keeps_one()
    {
        await SeedAsync();
        Assert.Equal(0, _run.Invoke("queue", "--json"));
        JsonElement first = _run.Json().GetProperty("routes")[0];
        Assert.Equal("example.com", first.GetProperty("route").GetString());
        Assert.Equal((2, 1), (first.GetProperty("deliveries").GetInt32(), first.GetProperty("held").GetInt32()));
        Assert.Equal("451 later", first.GetProperty("last_reply").GetString());
        Assert.Equal(0, _run.Invoke("queue"));
        Assert.StartsWith("DOMAIN", _run.Lines[0], StringComparison.Ordinal);
        Assert.Equal("3 in all, 3.0 KiB", _run.Lines[^1]);
    }

    [Fact]
    public void An_empty_queue_says_so()
    {
        Assert.Equal(0, _run.Invoke("queue"));
        Assert.Equal(["the queue is empty"], _run.Lines);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(2, "--domain", "example.com")]
    [InlineData(1, "--domain", "other.example")]
    [InlineData(2, "--domain", "example.*")]
    [InlineData(1, "--state", "held")]
    [InlineData(1, "--state", "deferred")]
    [InlineData(1, "--state", "due")]
    [InlineData(1, "--older-than", "1h")]
    [InlineData(3, "--sender", "S@A.example")]
    [InlineData(0, "--sender", "<>")]
    [InlineData(2, "--recipient", "*@example.com")]
    [InlineData(1, "0000000000002")]
    [InlineData(1, "--limit", "1")]
    public async Task List_narrows(int expected, params string[] filter)
    {
        await SeedAsync();
        Assert.Equal(expected == 0 ? 1 : 0, _run.Invoke(["queue", "list", "--json", .. filter]));
        Assert.Equal(expected, _run.Json().GetArrayLength());
    }

    [Theory]
    [InlineData("arrival", "0000000000001")]
    [InlineData("next", "0000000000003")]
    [InlineData("size", "0000000000003")]
    [InlineData("attempts", "0000000000002")]
    public async Task List_sorts(string by, string first)
    {
        await SeedAsync();
        Assert.Equal(0, _run.Invoke("queue", "list", "--sort", by, "--limit", "1", "--json"));
        Assert.Equal(first, _run.Json()[0].GetProperty("id").GetString());
    }

    [Fact]
    public async Task Nothing_that_matches_is_exit_1_and_says_so()
    {
        await SeedAsync();
        Assert.Equal(1, _run.Invoke("queue", "flush", "--domain", "nowhere.example"));
        Assert.Equal("mfrelay: nothing in the queue matches\n", _run.Error);
    }

    [Fact]
    public async Task Hold_release_and_flush_put_the_row_under_a_new_key_that_names_the_old_one()
    {
        await SeedAsync();
        Delivery before = await RowAsync(2);
        Assert.Equal(0, _run.Invoke("queue", "hold", "0000000000002"));
        Assert.Equal(["1 held"], _run.Lines);
        Delivery held = await RowAsync(2);
        Assert.Equal((true, before.Key, 3), (held.Hold, held.Replaces, held.Attempts));
        Assert.True(held.Key > (await RowAsync(3)).Key);
        Assert.Equal(1, _run.Invoke("queue", "flush", "0000000000002"));
        Assert.Equal(0, _run.Invoke("queue", "release", "0000000000002"));
        Assert.Equal(0, _run.Invoke("queue", "flush", "0000000000002"));
        Delivery flushed = await RowAsync(2);
        Assert.Equal((false, Order.Flush), (flushed.Hold, flushed.Order));
        Assert.InRange(flushed.Replaces, held.Key + 1, flushed.Key - 1);
        Assert.Equal(default, flushed.NextAttempt);
    }

    [Fact]
    public async Task Requeue_splits_what_now_takes_two_routes()
    {
        await _run.StoreAsync(table => table.Insert([CommandRun.Delivery(1, "gone.example", TimeSpan.FromHours(1)) with
        {
            Recipients = [new OpenRecipient(0, "a@example.com"), new OpenRecipient(1, "b@else.example"), new OpenRecipient(2, "c@example.com")],
        }]));
        long key = Assert.Single(await RowsAsync()).Key;
        Assert.Equal(0, _run.Invoke("queue", "requeue"));
        IReadOnlyList<Delivery> rows = await RowsAsync();
        Assert.Equal(["example.com 0,2", "* 1"], rows.Select(row => $"{row.Route} {string.Join(',', row.Recipients.Select(to => to.Ordinal))}"));
        Assert.All(rows, row => Assert.Equal(key, row.Replaces));
    }

    [Theory]
    [InlineData(null, 64)]
    [InlineData("n\n", 64)]
    [InlineData("", 64)]
    [InlineData("y\n", 0)]
    public async Task Delete_shows_what_it_would_hit_and_asks(string? typed, int exit)
    {
        await SeedAsync();
        _run.Typed = typed;
        Assert.Equal(exit, _run.Invoke("queue", "delete", "--domain", "example.com"));
        Assert.Contains("2 would be deleted for good", _run.Error, StringComparison.Ordinal);
        Assert.Contains("0000000000001", _run.Error, StringComparison.Ordinal);
        Assert.Equal(exit == 0 ? 2 : 0, (await RowsAsync()).Count(row => row.Order == Order.Delete));
    }

    [Fact]
    public async Task Bounce_orders_the_client_also_for_held_mail()
    {
        await SeedAsync();
        Assert.Equal(0, _run.Invoke("queue", "bounce", "0000000000001", "--yes"));
        Delivery row = await RowAsync(1);
        Assert.Equal((Order.Bounce, false), (row.Order, row.Hold));
    }

    [Fact]
    public async Task Deleted_mail_is_in_the_done_journal_and_no_longer_shown()
    {
        Delivery spooled = await SpoolAsync();
        Assert.Equal(0, _run.Invoke("queue", "cat", spooled.Id.ToString()));
        Assert.Equal("Subject: x\r\n\r\n.dot\r\n", _run.Output);
        Assert.Equal(0, _run.Invoke("queue", "show", spooled.Id.ToString(), "--json"));
        Assert.Equal("a@example.org", _run.Json().GetProperty("envelope").GetProperty("reverse_path").GetString());
        Assert.Equal(0, _run.Invoke("queue", "delete", spooled.Id.ToString(), "-y"));
        StateDirectory directory = StateDirectory.Open(_run.State);
        Assert.True(DoneJournal.Read(directory.Spool, spooled.Position.Segment).Contains(spooled.Position.Offset, 0));
        Assert.Equal(1, _run.Invoke("queue", "show", spooled.Id.ToString()));
        Assert.Equal(0, _run.Invoke("queue"));
        Assert.Equal(["the queue is empty"], _run.Lines);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Mail_that_changes_while_it_is_deleted_is_deleted_all_the_same(bool underNewKey)
    {
        Delivery spooled = await SpoolAsync();
        StateDirectory directory = StateDirectory.Open(_run.State);
        using MailLog log = MailLog.ToAction(Language.En, (_, _) => { });
        using var client = new QueueStore(directory, () => new RouteTable([]), log, TimeProvider.System);
        var changed = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);

        // Stands in the turnstile all the time, so its turn is next after that in which the command reads what it journals then.
        void Change(int turnsLeft) => _ = client.RunAsync(table =>
        {
            bool journaled = SpinWait.SpinUntil(
                () => DoneJournal.Read(directory.Spool, spooled.Position.Segment).Contains(spooled.Position.Offset, 0), TimeSpan.FromMilliseconds(500));
            if (!journaled && turnsLeft > 0)
            {
                Change(turnsLeft - 1);
                return;
            }
            Delivery after = spooled with { Attempts = 1, NextAttempt = CommandRun.Now.AddHours(1) };
            changed.TrySetResult(underNewKey ? table.Replace(spooled.Key, after) : table.Update(after));
        });

        Change(turnsLeft: 20);
        Assert.Equal(0, _run.Invoke("queue", "delete", "--state", "due", "--yes"));
        Assert.Equal(["1 deleted"], _run.Lines);
        await changed.Task;
        Assert.Equal(Order.Delete, Assert.Single(await RowsAsync()).Order);
    }

    [Fact]
    public async Task Export_writes_mail_data_and_envelope_and_import_needs_a_server()
    {
        Delivery spooled = await SpoolAsync();
        string directory = Path.Combine(_run.RunDirectory, "mail");
        Assert.Equal(0, _run.Invoke("queue", "export", directory));
        Assert.Equal("Subject: x\r\n\r\n.dot\r\n", File.ReadAllText(Path.Combine(directory, $"{spooled.Id}.eml")));
        Assert.Contains("\"forward_path\": \"b@example.com\"", File.ReadAllText(Path.Combine(directory, $"{spooled.Id}.json")), StringComparison.Ordinal);
        await File.AppendAllTextAsync(_run.Config, "\n[server]\nlisten = [\"127.0.0.9:1\"]\n", TestContext.Current.CancellationToken);
        Assert.Equal(1, _run.Invoke("queue", "import", directory));
        Assert.Contains("import needs it to run", _run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Show_has_the_envelope_as_it_came_and_each_attempt_with_its_reply()
    {
        Delivery spooled = await SpoolAsync();
        string log = Path.Combine(_run.State, "log");
        Directory.CreateDirectory(log);
        string time = spooled.Id.Time.ToString("yyyy-MM-dd'T'HH:mm:ss.fffzzz", CultureInfo.InvariantCulture);
        File.WriteAllText(Path.Combine(log, $"trace-client-{spooled.Id.Time:yyyyMMdd}.jsonl"),
            $$"""
            {"time":"{{time}}","id":"{{spooled.Id}}","event":"deferred","from":"a@example.org","to":"b@example.com","host":"192.0.2.9","port":25,"stage":"rcpt","reply":"450 4.2.1 busy","delay":1.000,"seconds":0.100}
            {"time":"{{time}}","id":"{{spooled.Id}}","event":"hold","from":"a@example.org","to":["b@example.com"]}

            """);
        Assert.Equal(0, _run.Invoke("queue", "show", spooled.Id.ToString()));
        Assert.Contains(_run.Lines, line => Squeeze(line) == "envelope MAIL FROM:<a@example.org>");
        Assert.EndsWith("deferred <b@example.com> 192.0.2.9:25 rcpt: 450 4.2.1 busy (delay=1.000 time=0.100)", Squeeze(_run.Lines[^1]), StringComparison.Ordinal);
        Assert.Equal(0, _run.Invoke("queue", "show", spooled.Id.ToString(), "--json"));
        Assert.Equal("450 4.2.1 busy", Assert.Single(_run.Json().GetProperty("attempts").EnumerateArray()).GetProperty("reply").GetString());
    }

    [Fact]
    public async Task Age_counts_domains_by_minutes_in_the_queue()
    {
        await SeedAsync();
        Assert.Equal(0, _run.Invoke("queue", "age"));
        Assert.Equal("DOMAIN T 5 10 20 40 80 160 320 640 1280 1280+", Squeeze(_run.Lines[0]));
        Assert.Equal("TOTAL 3 1 0 1 0 0 1 0 0 0 0", Squeeze(_run.Lines[1]));
        Assert.Equal("example.com 2 0 0 1 0 0 1 0 0 0 0", Squeeze(_run.Lines[2]));
    }

    private static string Squeeze(string line) => string.Join(' ', line.Split(' ', StringSplitOptions.RemoveEmptyEntries));

    private Task SeedAsync() => _run.StoreAsync(table => table.Insert(
    [
        CommandRun.Delivery(1, "example.com", TimeSpan.FromMinutes(100)) with { Hold = true, LastReply = "451 later" },
        CommandRun.Delivery(2, "example.com", TimeSpan.FromMinutes(10)) with { NextAttempt = CommandRun.Now.AddMinutes(4), Attempts = 3, Size = 900 },
        CommandRun.Delivery(3, "other.example", TimeSpan.FromMinutes(1)) with { Size = 1000 },
    ]));

    private async Task<Delivery> SpoolAsync()
    {
        StateDirectory directory = StateDirectory.Open(_run.State);
        var records = new List<SpooledRecord>();
        using (var writer = new SpoolWriter(directory.Spool, SpoolOwner.Server, new QueueIdSource(TimeProvider.System), records.AddRange))
        using (IncomingMessage message = writer.NewMessage())
        {
            message.Begin(new QueueId(98));
            message.Append("Subject: x\r\n\r\n.dot\r\n"u8);
            await message.CommitAsync(State.EnvelopeOf(new QueueId(98)));
        }
        // Opening the store fills the table from the spool.
        return Assert.Single(await RowsAsync());
    }

    private async Task<IReadOnlyList<Delivery>> RowsAsync()
    {
        IReadOnlyList<Delivery> rows = [];
        await _run.StoreAsync(table => rows = table.ReadAfter(0, 1000));
        return rows;
    }

    private async Task<Delivery> RowAsync(int number) => (await RowsAsync()).Single(row => row.Id.Value == number);
}
