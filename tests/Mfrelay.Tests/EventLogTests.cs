using System.Globalization;
using System.Text;
using System.Text.Json;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>The event log and the access log as files: what stands in a line, days, and what happens when nothing can be written.</summary>
public sealed class EventLogTests : IDisposable
{
    private static readonly DateTimeOffset Start = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);
    private static readonly DateOnly Today = DateOnly.FromDateTime(Start.DateTime);

    private readonly TestDirectory _directory = new();
    private readonly VirtualTime _time = new(Start);
    private readonly List<string> _lines = [];
    private readonly MailLog _log;

    public EventLogTests() => _log = MailLog.ToAction(Language.En, (_, line) =>
    {
        lock (_lines)
            _lines.Add(line);
    });

    private string Folder => Path.Join(_directory.Path, "log");

    [Fact]
    public void A_message_that_is_accepted_and_delivered_leaves_a_line_in_each_log()
    {
        Run("server", With(), () => _log.Accepted(Envelope("a@example.org", "b@example.com", "c@example.com"),
            new Reception(Start.AddSeconds(-1), "user", "id@example.org", 1234, TimeSpan.FromMilliseconds(12))));
        Run("client", With(AccessLog.MFilter), () => _log.Delivered(Result("final dot", "250 2.0.0 Ok, thanks")));

        Assert.Equal(
            """{"time":"2026-11-24T12:00:00.000+00:00","id":"0000000000007","event":"accepted","connected":"2026-11-24T11:59:59.000+00:00","client":"192.0.2.1:40112","helo":"mail.example.org","protocol":"ESMTPSA","user":"user","from":"a@example.org","to":["b@example.com","c@example.com"],"size":1234,"message_id":"id@example.org","delay":0.012}""" + "\n",
            Text("trace-server-20261124.jsonl"));
        Assert.Equal(
            """{"time":"2026-11-24T12:00:00.000+00:00","id":"0000000000007","event":"delivered","from":"a@example.org","to":"b@example.com","host":"192.0.2.9","port":25,"stage":"final dot","reply":"250 2.0.0 Ok, thanks","delay":61.500,"seconds":0.120}""" + "\n",
            Text("trace-client-20261124.jsonl"));
        Assert.Equal(
            "2026-11-24T12:00:00.000+00:00,0000000000007,2026-11-24T11:58:58.500+00:00,example.com,192.0.2.1,a@example.org,b@example.com,192.0.2.9,25,\"250 2.0.0 Ok, thanks\",final dot,30,<id@example.org>\r\n",
            Text("access-client-20261124.csv"));
        Assert.False(File.Exists(Path.Join(Folder, "access-server-20261124.csv")));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(1000)]
    public void Recipients_with_the_same_result_have_a_line_each_as_if_alone(int count)
    {
        string[] to = [.. Enumerable.Range(0, count).Select(i => $"{new string('x', i % 200)}\"{i}\"@example.com")];
        RecipientResult result = Result("final dot", "250 2.0.0 Ok, thanks");
        Run("client", With(AccessLog.MFilter), () => _log.Delivered(result with { To = to }));
        string together = Text("trace-client-20261124.jsonl") + Text("access-client-20261124.csv") + string.Join('\n', _lines);
        Directory.Delete(Folder, recursive: true);
        _lines.Clear();
        Run("client", With(AccessLog.MFilter), () =>
        {
            foreach (string one in to)
                _log.Delivered(result with { To = [one] });
        });
        Assert.Equal(together, Text("trace-client-20261124.jsonl") + Text("access-client-20261124.csv") + string.Join('\n', _lines));
        Assert.Equal(to, Json("trace-client-20261124.jsonl").Select(line => line.GetProperty("to").GetString()));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4_999)]
    [InlineData(5_000)]
    [InlineData(12_340_000)]
    [InlineData(599_999_999)]
    [InlineData(-1)]
    [InlineData(-864_000_000_000)]
    [InlineData(long.MaxValue / 2)]
    public void Seconds_have_three_places(long ticks)
    {
        Span<byte> text = stackalloc byte[EventLine.MaxSeconds];
        int length = EventLine.WriteSeconds(new TimeSpan(ticks), text);
        Assert.Equal(Math.Round(ticks / 1e7m, 3, MidpointRounding.AwayFromZero).ToString("0.000", CultureInfo.InvariantCulture), Encoding.ASCII.GetString(text[..length]));
    }

    [Theory]
    [InlineData("2026-11-24T12:00:00.123+09:00")]
    [InlineData("0001-01-01T23:59:59.999-11:30")]
    [InlineData("9999-12-31T00:00:00.000+00:00")]
    public void A_time_has_its_milliseconds_and_its_offset(string expected)
    {
        var line = new EventLine();
        line.Time(DateTimeOffset.Parse(expected, CultureInfo.InvariantCulture).AddTicks(4567));
        Assert.Equal(expected, Encoding.ASCII.GetString(line.Bytes, 0, line.Length));
        Assert.Equal(EventLine.TimeLength, expected.Length);
    }

    [Fact]
    public void What_is_refused_names_all_recipients_and_has_no_id_before_mail_data()
    {
        Run("server", With(AccessLog.MFilter), () =>
        {
            _log.Refused("192.0.2.1:1", "a@example.org", [new Recipient("b@example.com"), new Recipient("c@example.com")], "data", "552 5.3.4 too large",
                new QueueId(7), "m@example.org", 99);
            _log.Refused("[2001:db8::1]:1", "a@example.org", [], "MAIL", "550 5.7.1 no");
            _log.Refused("192.0.2.1:1", "", [], "AUTH", "535 5.7.8 no"); // about no message
        });
        Assert.Equal(["0000000000007", null], Json("trace-server-20261124.jsonl").Select(line => line.GetProperty("id").GetString()));
        Assert.Equal(
            [
                "2026-11-24T12:00:00.000+00:00,0000000000007,,,192.0.2.1,a@example.org,b@example.com,,,552 5.3.4 too large,data,99,<m@example.org>",
                "2026-11-24T12:00:00.000+00:00,0000000000007,,,192.0.2.1,a@example.org,c@example.com,,,552 5.3.4 too large,data,99,<m@example.org>",
                "2026-11-24T12:00:00.000+00:00,,,,2001:db8::1,a@example.org,,,,550 5.7.1 no,MAIL,0,",
            ],
            Text("access-server-20261124.csv").Split("\r\n", StringSplitOptions.RemoveEmptyEntries));
    }

    [Theory]
    [InlineData("plain@example.org", "plain@example.org")]
    [InlineData("\"a b\"@example.org", "\"\"\"a b\"\"@example.org\"")]
    [InlineData("a,b", "\"a,b\"")]
    [InlineData("line\r\nbreak", "\"line??break\"")]
    [InlineData("\u001b[31m\u009b\u2028", "\"?[31m??\"")]
    [InlineData("送信者@例え.jp", "送信者@例え.jp")]
    [InlineData("", "")]
    public void Hostile_text_stays_one_line_and_comes_back(string text, string cell)
    {
        Run("client", With(AccessLog.MFilter), () => _log.Delivered(Result("rcpt", text)));
        byte[] octets = File.ReadAllBytes(Path.Join(Folder, "trace-client-20261124.jsonl"));
        Assert.Equal((byte)'\n', octets[^1]);
        Assert.DoesNotContain(octets[..^1], b => b is < 0x20 or 0x7f);
        Assert.Equal(text, Json("trace-client-20261124.jsonl")[0].GetProperty("reply").GetString());
        Assert.EndsWith($",192.0.2.9,25,{cell},rcpt,30,<id@example.org>\r\n", Text("access-client-20261124.csv"), StringComparison.Ordinal);
    }

    [Fact]
    public void Half_a_surrogate_pair_is_replaced()
    {
        Run("client", With(AccessLog.MFilter), () => _log.Delivered(Result("rcpt", "half \ud800")));
        Assert.Equal("half \ufffd", Json("trace-client-20261124.jsonl")[0].GetProperty("reply").GetString());
        Assert.Contains(",half \ufffd,", Text("access-client-20261124.csv"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("From: a\r\nMessage-ID: <x@example.org>\r\nMessage-ID: <second@example.org>\r\n\r\n", "x@example.org")]
    [InlineData("MESSAGE-id :\r\n\t<folded@example.org>\r\nSubject: <no@example.org>\r\n\r\n", "folded@example.org")]
    [InlineData("Message-Id: no brackets \r\n\r\n", "no brackets")]
    [InlineData("Message-ID-2: <x@example.org>\r\nXMessage-ID: <y@example.org>\r\n\r\n", "")]
    [InlineData("Subject: x\r\n\r\nMessage-ID: <body@example.org>\r\n", "")]
    [InlineData("Message-ID: <\u00e9\"@example.org>\r\n\r\n", "\ufffd\"@example.org")]
    public void The_Message_ID_is_found_however_the_header_is_cut(string data, string expected)
    {
        byte[] octets = Encoding.Latin1.GetBytes(data);
        Assert.Equal(expected, HeaderScan.MessageIdOf(octets));
        var scan = new HeaderScan();
        foreach (byte octet in octets)
            scan.Scan([octet]);
        Assert.Equal(expected, scan.MessageId);
    }

    [Fact]
    public void A_new_day_begins_a_new_file_and_removes_the_oldest_even_when_nothing_happens()
    {
        Directory.CreateDirectory(Folder);
        foreach (string old in new[] { "trace-client-20261121.jsonl", "trace-client-20261122.jsonl", "trace-server-20261101.jsonl", "trace-client-notes.jsonl" })
            File.WriteAllText(Path.Join(Folder, old), "");
        Run("client", With() with { TraceDays = 2 }, () =>
        {
            _log.Delivered(Result("final dot", "first"));
            Eventually(() => Names().Contains("trace-client-20261124.jsonl"));
            _time.AdvanceTo(new DateTimeOffset(Start.Date, TimeSpan.Zero).AddDays(1).AddHours(12));
            Eventually(() => Names().Contains("trace-client-20261125.jsonl"));
            _log.Delivered(Result("final dot", "second"));
        });
        Assert.Equal(
            ["trace-client-20261124.jsonl", "trace-client-20261125.jsonl", "trace-client-notes.jsonl", "trace-server-20261101.jsonl"], Names());
        Assert.Contains("first", Text("trace-client-20261124.jsonl"), StringComparison.Ordinal);
        Assert.Contains("second", Text("trace-client-20261125.jsonl"), StringComparison.Ordinal);
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead, File.GetUnixFileMode(Path.Join(Folder, "trace-client-20261125.jsonl")));
    }

    [Fact]
    public void With_trace_days_0_nothing_is_written_and_nothing_said()
    {
        Run("client", With() with { TraceDays = 0 }, () => _log.Delivered(Result("final dot", "250 ok")));
        Assert.False(Directory.Exists(Folder));
        Assert.DoesNotContain(_lines, line => line.Contains("_c39", StringComparison.Ordinal));
    }

    [Fact]
    public void A_directory_that_cannot_be_used_is_said_once_and_once_when_it_works_again()
    {
        File.WriteAllText(Folder, "a file in its place");
        Run("client", With(), () =>
        {
            _log.Delivered(Result("final dot", "lost"));
            Eventually(() => Count("WARN_c393 ") == 1);
            Flushed(() => _log.Delivered(Result("final dot", "lost too")));
            File.Delete(Folder);
            Flushed(() => _log.Delivered(Result("final dot", "kept")));
        });
        Assert.Equal(1, Count("WARN_c393 "));
        Assert.EndsWith("trace-client-20261124.jsonl lines lost=2", Assert.Single(_lines, line => line.StartsWith("INFO_c193 ", StringComparison.Ordinal)), StringComparison.Ordinal);
        Assert.Equal("kept", Assert.Single(Json("trace-client-20261124.jsonl")).GetProperty("reply").GetString());
    }

    [Fact]
    public void Half_a_line_that_a_crash_left_spoils_no_other()
    {
        Directory.CreateDirectory(Folder);
        File.WriteAllText(Path.Join(Folder, "trace-client-20261124.jsonl"), "{\"time\":\"2026");
        Run("client", With(), () => _log.Delivered(Result("final dot", "250 ok")));
        string[] lines = Text("trace-client-20261124.jsonl").Split('\n');
        Assert.Equal("{\"time\":\"2026", lines[0]);
        Assert.Equal("250 ok", JsonDocument.Parse(lines[1]).RootElement.GetProperty("reply").GetString());
    }

    [Fact]
    public void A_file_that_somebody_removed_is_made_anew()
    {
        string path = Path.Join(Folder, "trace-client-20261124.jsonl");
        Run("client", With(), () =>
        {
            Eventually(() => File.Exists(path));
            File.Delete(path);
            _log.Delivered(Result("final dot", "250 ok"));
        });
        Assert.Single(Json("trace-client-20261124.jsonl"));
    }

    [Fact]
    public void Room_that_mail_may_need_is_left_to_it()
    {
        Settings settings = With() with { Server = new ServerSettings { MinFreeSpace = 1L << 40 } };
        Run("client", settings, () => _log.Delivered(Result("final dot", "250 ok")));
        Assert.Equal(1, Count("WARN_c393 "));
        Assert.Equal("", Text("trace-client-20261124.jsonl"));
    }

    [Theory]
    [InlineData("", "/var/log/mfrelay")]
    [InlineData("state_directory = \"/var/lib/mfrelay\"", "/var/log/mfrelay")]
    [InlineData("state_directory = \"/srv/relay\"", "/srv/relay/log")]
    [InlineData("state_directory = \"/srv/relay\"\nlog_directory = \"/var/log/relay\"", "/var/log/relay")]
    public void A_daemon_that_runs_elsewhere_logs_elsewhere(string config, string expected) =>
        Assert.Equal(expected, ConfigDirectory.Settings("host_name = \"relay.example\"\n" + config).LogDirectory);

    public void Dispose()
    {
        _log.Dispose();
        _directory.Dispose();
    }

    private Settings With(AccessLog access = AccessLog.Off) =>
        new() { LogDirectory = Folder, AccessLog = access, Server = new ServerSettings { MinFreeSpace = 0 } };

    private void Run(string process, Settings settings, Action what)
    {
        using var events = new EventLog(process, settings, _log, _time);
        _log.Events = events;
        what();
        _log.Events = null;
    }

    /// <summary>Waits until the thread that writes has had its turn.</summary>
    private static void Flushed(Action what)
    {
        what();
        Thread.Sleep(500);
    }

    private static void Eventually(Func<bool> isTrue) => Assert.True(SpinWait.SpinUntil(isTrue, TimeSpan.FromSeconds(10)));

    private int Count(string code)
    {
        lock (_lines)
            return _lines.Count(line => line.StartsWith(code, StringComparison.Ordinal));
    }

    private string[] Names() => Directory.Exists(Folder) ? [.. Directory.GetFiles(Folder).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)] : [];

    private string Text(string name) => File.ReadAllText(Path.Join(Folder, name));

    private List<JsonElement> Json(string name) => [.. Text(name).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement)];

    private static Envelope Envelope(string from, params string[] to) => new()
    {
        Id = new QueueId(7),
        Arrival = Start.AddSeconds(-61.5),
        ReversePath = from,
        Recipients = [.. to.Select(one => new Recipient(one))],
        ClientAddress = "192.0.2.1:40112",
        HeloName = "mail.example.org",
        Protocol = "ESMTPSA",
    };

    internal static RecipientResult Result(string stage, string reply)
    {
        Envelope envelope = Envelope("a@example.org", "b@example.com");
        SpooledMessage message = SpooledMessage.FromMemory(envelope, "Message-ID: <id@example.org>\r\n\r\n"u8.ToArray());
        var delivery = new Delivery
        {
            Id = envelope.Id,
            Position = default,
            Size = 30,
            Arrival = envelope.Arrival,
            ReversePath = envelope.ReversePath,
            Route = "example.com",
            Recipients = [new OpenRecipient(0, "b@example.com")],
        };
        return new RecipientResult(delivery, message, new MailServer { Domain = "example.com", Host = "192.0.2.9" }, ["b@example.com"],
            stage, reply, TimeSpan.FromSeconds(61.5), TimeSpan.FromMilliseconds(120));
    }
}
