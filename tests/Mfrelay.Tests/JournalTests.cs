using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>The journal's native protocol, against a real datagram socket in the place of the journal (B4).</summary>
public sealed class JournalTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("mfrelay-").FullName;
    private readonly VirtualTime _time = new();
    private Socket _journal;

    public JournalTests() => _journal = Listen();

    private string SocketPath => Path.Join(_directory, "socket");

    public void Dispose()
    {
        _journal.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public void B04_a_line_is_an_entry_with_its_values_as_fields()
    {
        using (MailLog log = Open())
            log.Refused("192.0.2.9:1234", "a@example.org", [new Recipient("b@example.com")], "RCPT", "550 5.7.1 No");
        Assert.Equal(
            [
                ("MESSAGE", "INFO_a102 メールを拒否しました。 client=192.0.2.9:1234 from=<a@example.org> to=<b@example.com> stage=RCPT reply=550 5.7.1 No"),
                ("PRIORITY", "6"),
                ("SYSLOG_IDENTIFIER", "mf-smtp-test"),
                ("MF_CODE", "INFO_a102"),
                ("MF_CLIENT", "192.0.2.9:1234"),
                ("MF_FROM", "a@example.org"),
                ("MF_TO", "b@example.com"),
                ("MF_STAGE", "RCPT"),
                ("MF_REPLY", "550 5.7.1 No"),
            ],
            Receive());
    }

    [Fact]
    public void B04_recipients_with_the_same_result_have_an_entry_each()
    {
        using (MailLog log = Open())
            log.Delivered(EventLogTests.Result("final dot", "250 ok") with { To = ["b@example.com", "c@example.com"] });
        foreach (string to in new[] { "b@example.com", "c@example.com" })
        {
            Dictionary<string, string> entry = ReceiveFields();
            Assert.Equal(("INFO_b102", to, "final dot: 250 ok"), (entry["MF_CODE"], entry["MF_TO"], entry["MF_REPLY"]));
            Assert.Contains($"to=<{to}>", entry["MESSAGE"], StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("192.168.0.1", "192.168.0.1")]
    [InlineData("2001:db8::1", "2001:db8::1")]
    public void B04_a_line_about_a_mail_server_has_host_port_and_domain(string host, string expected)
    {
        var health = new MailServerHealth { Owner = HealthOwner.Server, Domain = "example.com", Host = host, Port = 25 };
        using (MailLog log = Open())
            log.Health(new HealthChange(health, [LogEvents.ConnectFailed]));
        Dictionary<string, string> entry = ReceiveFields();
        Assert.Equal("WARN_a301", entry["MF_CODE"]);
        Assert.Equal("4", entry["PRIORITY"]);
        Assert.Equal(expected, entry["MF_HOST"]);
        Assert.Equal("25", entry["MF_PORT"]);
        Assert.Equal("example.com", entry["MF_DOMAIN"]);
    }

    [Theory]
    [InlineData("id", "MF_QUEUE_ID")]
    [InlineData("host", "MF_HOST")]
    [InlineData("nextAttempt", "MF_NEXT_ATTEMPT")]
    public void B04_every_field_has_a_name_that_the_journal_takes(string name, string field) => Assert.Equal(field, JournalEntry.FieldName(name));

    [Fact]
    public void A_value_with_a_line_feed_makes_no_field_of_its_own()
    {
        using (MailLog log = Open())
            log.Refused("192.0.2.9:1234", "a\nPRIORITY=0\nMF_CODE=ERROR_c401", [], "MAIL", "");
        List<(string Name, string Value)> entry = Receive();
        Assert.Equal("INFO_a102", Assert.Single(entry, field => field.Name is "MF_CODE").Value);
        Assert.Equal("a\nPRIORITY=0\nMF_CODE=ERROR_c401", Assert.Single(entry, field => field.Name is "MF_FROM").Value);
        Assert.DoesNotContain('\n', entry[0].Value);
    }

    [Fact]
    public void A_value_that_is_too_long_for_a_datagram_is_cut_between_characters()
    {
        using (MailLog log = Open())
            log.Refused("", new string('あ', 300_000), [], "MAIL", "");
        string from = ReceiveFields()["MF_FROM"];
        Assert.EndsWith("あ [...]", from, StringComparison.Ordinal);
        Assert.InRange(Encoding.UTF8.GetByteCount(from), JournalEntry.ValueLimit - 3, JournalEntry.ValueLimit);
    }

    [Fact]
    public void An_error_with_its_stack_fits_one_entry()
    {
        using (MailLog log = Open())
            log.Unexpected("here", new InvalidOperationException("boom"));
        Dictionary<string, string> entry = ReceiveFields();
        Assert.Equal("3", entry["PRIORITY"]);
        Assert.Contains("boom", entry["MF_ERROR"], StringComparison.Ordinal);
    }

    [Fact]
    public void Lines_of_information_beyond_the_limit_are_counted_and_told_and_warnings_still_come()
    {
        using (MailLog log = Open(limit: 2))
        {
            for (int i = 0; i < 5; i++)
                log.Started("a");
            Assert.Equal(["INFO_c101", "INFO_c101"], ReceiveCodes(2));
            log.UsersBad("file", "reason");
            Assert.Equal(["WARN_c391", "WARN_a317"], ReceiveCodes(2));
            _time.Advance(JournalTarget.Window);
            log.Started("b");
            Assert.Equal(["INFO_c101"], ReceiveCodes(1));
            Assert.Equal(3, log.Lost);
        }
        Assert.Equal(0, _journal.Available);
    }

    [Fact]
    public void How_many_lines_were_left_out_is_told_at_the_end_at_the_latest()
    {
        using (MailLog log = Open(limit: 1))
        {
            for (int i = 0; i < 4; i++)
                log.Started("a");
        }
        ReceiveCodes(1);
        Dictionary<string, string> told = ReceiveFields();
        Assert.Equal("WARN_c391", told["MF_CODE"]);
        Assert.Equal("3", told["MF_COUNT"]);
    }

    [Fact]
    public void A_journal_that_was_started_anew_is_found_again()
    {
        using MailLog log = Open();
        log.Started("a");
        ReceiveCodes(1);
        _journal.Dispose();
        File.Delete(SocketPath);
        _journal = Listen();
        log.Started("b");
        Assert.Equal("b", ReceiveFields()["MF_WHAT"]);
        Assert.Equal(0, log.Lost);
    }

    [Fact]
    public void A_journal_that_is_away_holds_nobody_up_and_what_it_missed_is_told()
    {
        using MailLog log = Open();
        _journal.Dispose();
        File.Delete(SocketPath);
        log.Started("a");
        Assert.True(SpinWait.SpinUntil(() => log.Lost == 1, TimeSpan.FromSeconds(10)));
        _journal = Listen();
        log.Started("b");
        Assert.Equal(["WARN_c391", "INFO_c101"], ReceiveCodes(2));
    }

    [Fact]
    public async Task Lines_of_several_threads_reach_the_journal_in_order_though_nothing_follows_them()
    {
        // Pauses about as long as a batch: lines come before, while and just after one is written.
        const int threads = 4, lines = 150;
        using MailLog log = Open();
        var random = new Random(7);
        int[] pauses = [.. Enumerable.Range(0, threads * lines).Select(_ => random.Next(-20, 15))];
        Task writers = Task.WhenAll(Enumerable.Range(0, threads).Select(thread => Task.Run(async () =>
        {
            for (int i = 0; i < lines; i++)
            {
                log.Started($"{thread} {i}");
                if (pauses[(thread * lines) + i] is > 0 and int pause)
                    await Task.Delay(pause, TestContext.Current.CancellationToken);
            }
        })));
        List<string> written = [.. Enumerable.Range(0, threads * lines).Select(_ => ReceiveFields()["MF_WHAT"])];
        await writers;
        for (int thread = 0; thread < threads; thread++)
            Assert.Equal(Enumerable.Range(0, lines).Select(i => $"{thread} {i}"), written.Where(line => line.StartsWith($"{thread} ", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_journal_that_reads_nothing_holds_nobody_up()
    {
        // The kernel lets few datagrams wait at a Unix socket (net.unix.max_dgram_qlen); the first one beyond waits a second, the others not.
        const int lines = 5_000;
        using MailLog log = Open();
        for (int i = 0; i < lines; i++)
            log.Started("a");
        Assert.True(SpinWait.SpinUntil(() => log.Lost > 0, TimeSpan.FromSeconds(20)));
        int received = 0;
        for (; received + log.Lost < lines; received++)
            Receive();
    }

    private MailLog Open(int limit = 0) => MailLog.ToJournal(SocketPath, "mf-smtp-test", Language.Ja, limit, _time);

    private Socket Listen()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { ReceiveTimeout = 10_000 };
        socket.Bind(new UnixDomainSocketEndPoint(SocketPath));
        return socket;
    }

    private string[] ReceiveCodes(int count) => [.. Enumerable.Range(0, count).Select(_ => ReceiveFields()["MF_CODE"])];

    private Dictionary<string, string> ReceiveFields() => Receive().ToDictionary(field => field.Name, field => field.Value, StringComparer.Ordinal);

    /// <summary>Reads an entry as systemd's journal-native-protocol does.</summary>
    private List<(string Name, string Value)> Receive()
    {
        byte[] buffer = new byte[300_000];
        ReadOnlySpan<byte> rest = buffer.AsSpan(0, _journal.Receive(buffer));
        List<(string, string)> fields = [];
        while (rest.Length > 0)
        {
            int end = rest.IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = rest[..end];
            int equals = line.IndexOf((byte)'=');
            rest = rest[(end + 1)..];
            if (equals >= 0)
            {
                fields.Add((Encoding.ASCII.GetString(line[..equals]), Encoding.UTF8.GetString(line[(equals + 1)..])));
                continue;
            }
            int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(rest);
            fields.Add((Encoding.ASCII.GetString(line), Encoding.UTF8.GetString(rest.Slice(sizeof(ulong), length))));
            Assert.Equal((byte)'\n', rest[sizeof(ulong) + length]);
            rest = rest[(sizeof(ulong) + length + 1)..];
        }
        return fields;
    }
}
