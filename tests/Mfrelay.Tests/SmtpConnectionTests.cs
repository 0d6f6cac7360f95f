using System.Text;
using Mfrelay.Core;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>What a dialog cannot say: time, the end of the service, a client that does not read, the text of the Received field.</summary>
public sealed class SmtpConnectionTests
{
    private static readonly DateTimeOffset Now = new(2024, 11, 24, 4, 5, 6, TimeSpan.Zero);

    [Fact]
    public async Task A_silent_client_hears_421_at_the_command_timeout_and_is_cut_off()
    {
        var time = new VirtualTime(Now);
        await using Receiving receiving = await Receiving.StartAsync(time: time);
        ReceivingSession session = receiving.Connect();
        await session.ReplyAsync();
        time.Advance(TimeSpan.FromMinutes(5) - TimeSpan.FromSeconds(1));
        Assert.Equal("250 2.0.0 Ok", await session.AskAsync("NOOP"));
        time.Advance(TimeSpan.FromMinutes(5) - TimeSpan.FromSeconds(1));
        Assert.False(session.Run.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal("421 4.4.2 Timeout, closing the connection", await session.ReplyAsync());
        Assert.Null(await session.LineAsync());
    }

    [Theory]
    [InlineData("DATA\r\n")]
    [InlineData("BDAT 100\r\n")]
    public async Task Mail_data_that_stands_still_ends_in_421_and_nothing_is_stored(string command)
    {
        var time = new VirtualTime(Now);
        await using Receiving receiving = await Receiving.StartAsync(time: time);
        ReceivingSession session = receiving.Connect();
        await session.BeginAsync();
        await session.SendAsync(command);
        if (command[0] == 'D')
            await session.ReplyAsync();
        await session.SendAsync("half a message");
        time.Advance(TimeSpan.FromMinutes(6));
        Assert.Equal("421 4.4.2 Timeout, closing the connection", await session.ReplyAsync());
        Assert.Null(await session.LineAsync());
        Assert.Empty(receiving.Stored());
        Assert.Contains(receiving.Log, entry => entry.What == LogEvents.SessionLost && entry.Line.Contains("timeout", StringComparison.Ordinal));
    }

    [Fact]
    public async Task S11_What_is_larger_than_the_mail_servers_take_is_not_said_to_be_over_our_own_limit()
    {
        await using Receiving receiving = await Receiving.StartAsync();
        Settings settings = Receiving.DefaultSettings;
        MailLog log = MailLog.ToAction(Language.En, (what, line) => receiving.Log.Enqueue((what, line)));
        await using var health = new HealthMonitor(settings, receiving.Queue.Store, log, TimeProvider.System, static (_, _, _) =>
            Task.FromResult<HealthEvent>(new HealthEvent.CheckSucceeded(new Announcement("SIZE", 1000))));
        await health.ApplyAsync(settings);
        var admission = new Admission(settings, health);
        using var services = new SmtpServices(() => admission, receiving.Queue, log, TimeProvider.System);
        ReceivingSession session = receiving.Connect(services: services);
        await session.BeginAsync();
        await session.AskAsync("DATA");
        Assert.Equal("552 5.3.4 Message size exceeds the limit of the recipient's mail server",
            await session.AskAsync(string.Concat(Enumerable.Repeat("0123456789\r\n", 100)) + "."));
        Assert.DoesNotContain(receiving.Log, entry => entry.What == LogEvents.LimitReached);
        Assert.Empty(receiving.Stored());
    }

    [Fact]
    public async Task A_reply_is_sent_although_half_of_the_next_command_stands_behind_its_command()
    {
        await using Receiving receiving = await Receiving.StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.ReplyAsync();
        await session.SendAsync("NOOP\r\nNO");
        Assert.Equal("250 2.0.0 Ok", await session.ReplyAsync());
        Assert.Equal("250 2.0.0 Ok", await session.AskAsync("OP"));
    }

    [Fact]
    public async Task A_client_that_does_not_read_is_not_read_from_and_is_cut_off_at_the_timeout()
    {
        var time = new VirtualTime(Now);
        await using Receiving receiving = await Receiving.StartAsync(time: time);
        ReceivingSession session = receiving.Connect();
        await session.BeginAsync();
        byte[] commands = ReceivingSession.Latin1(string.Concat(Enumerable.Repeat("RCPT TO:<b@example.com>\r\n", 2000)));
        Task sending = Task.CompletedTask;
        for (int i = 0; i < 100 && sending.IsCompletedSuccessfully; i++)
            sending = session.SendAsync(commands);
        Assert.False(sending.IsCompleted, "everything was read");
        Assert.InRange(session.Unread, 60_000, 80_000);
        time.Advance(TimeSpan.FromMinutes(6));
        await session.EndedAsync();
        Assert.Contains(receiving.Log, entry => entry.What == LogEvents.SessionLost && entry.Line.Contains("timeout", StringComparison.Ordinal));
        await sending; // into nothing: the pipe has no reader any more
    }

    [Fact]
    public async Task An_idle_session_hears_421_when_the_service_stops()
    {
        await using Receiving receiving = await Receiving.StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.BeginAsync();
        session.Connection.Stop();
        Assert.Equal("421 4.3.2 Service shutting down", await session.ReplyAsync());
        Assert.Null(await session.LineAsync());
    }

    [Fact]
    public async Task A_message_under_way_is_accepted_when_the_service_stops()
    {
        await using Receiving receiving = await Receiving.StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.BeginAsync();
        Assert.StartsWith("354", await session.AskAsync("DATA"), StringComparison.Ordinal);
        await session.SendAsync("one\r\n");
        session.Connection.Stop();
        await session.SendAsync("two\r\n");
        await session.SendAsync(".\r\n");
        Assert.StartsWith("250 2.0.0 Ok: queued as", await session.ReplyAsync(), StringComparison.Ordinal);
        Assert.Equal("421 4.3.2 Service shutting down", await session.ReplyAsync());
        Assert.Null(await session.LineAsync());
        Assert.EndsWith("\r\none\r\ntwo\r\n", Encoding.Latin1.GetString(Assert.Single(receiving.Stored()).Data), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_session_that_begins_while_the_service_stops_hears_421()
    {
        await using Receiving receiving = await Receiving.StartAsync();
        await receiving.Services.StopAsync(TimeSpan.FromSeconds(1));
        ReceivingSession session = receiving.Connect();
        receiving.Services.Add(session.Connection, session.Run);
        Assert.StartsWith("220", await session.ReplyAsync(), StringComparison.Ordinal);
        Assert.Equal("421 4.3.2 Service shutting down", await session.ReplyAsync());
    }

    [Theory]
    [InlineData("DAT", "command")]
    [InlineData("DATA\r\ntext\r\n.\r", "mail data")]
    [InlineData("BDAT 5\r\nab", "chunk")]
    public async Task A_client_that_goes_away_in_the_middle_is_logged_and_leaves_nothing(string sent, string stage)
    {
        await using Receiving receiving = await Receiving.StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.BeginAsync();
        await session.SendAsync(sent);
        session.End();
        await session.EndedAsync();
        Assert.Contains(receiving.Log, entry => entry.What == LogEvents.SessionLost
            && entry.Line.Contains($"from=<a@example.org> stage={stage} (end of stream)", StringComparison.Ordinal));
        Assert.Empty(receiving.Stored());
    }

    [Fact]
    public async Task A_message_under_way_that_ends_by_rset_leaves_no_file()
    {
        await using Receiving receiving = await Receiving.StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.BeginAsync();
        Assert.StartsWith("250", await session.AskAsync("BDAT 300000\r\n" + new string('x', 299_998)), StringComparison.Ordinal);
        Assert.Single(Directory.EnumerateFiles(receiving.Spool, "*.tmp"));
        Assert.StartsWith("250", await session.AskAsync("RSET"), StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(receiving.Spool, "*.tmp"));
    }

    [Fact]
    public async Task A_refused_recipient_is_named_in_the_log()
    {
        await using Receiving receiving = await Receiving.StartAsync(
            Receiving.DefaultSettings with { MailServers = [new MailServer { Domain = "example.com", Host = "127.0.0.1" }] });
        ReceivingSession session = receiving.Connect();
        await session.BeginAsync();
        Assert.StartsWith("550 5.1.2", await session.AskAsync("RCPT TO:<who@elsewhere.example>"), StringComparison.Ordinal);
        Assert.Contains(receiving.Log, entry => entry.What == LogEvents.Refused
            && entry.Line.Contains("from=<a@example.org> to=<who@elsewhere.example> stage=rcpt reply=550 5.1.2", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("127.0.0.1", "EHLO client.example", "", "b@example.com",
        "Received: from client.example ([127.0.0.1])\r\n\tby relay.example (mfrelay) with ESMTP id ID\r\n\tfor <b@example.com>;\r\n\tSun, 24 Nov 2024 04:05:06 +0000\r\n")]
    [InlineData("::1", "HELO [IPv6:::1]", "", "b@example.com",
        "Received: from [IPv6:::1] ([IPv6:::1])\r\n\tby relay.example (mfrelay) with SMTP id ID\r\n\tfor <b@example.com>;\r\n\tSun, 24 Nov 2024 04:05:06 +0000\r\n")]
    [InlineData("127.0.0.1", "EHLO client.example", "", "b@example.com c@example.com",
        "Received: from client.example ([127.0.0.1])\r\n\tby relay.example (mfrelay) with ESMTP id ID;\r\n\tSun, 24 Nov 2024 04:05:06 +0000\r\n")]
    [InlineData("127.0.0.1", "EHLO client.example", " SMTPUTF8", "\u00c3\u00a9@example.com",
        "Received: from client.example ([127.0.0.1])\r\n\tby relay.example (mfrelay) with UTF8SMTP id ID;\r\n\tSun, 24 Nov 2024 04:05:06 +0000\r\n")]
    public async Task The_received_field_says_who_gave_what_to_whom(string client, string hello, string parameters, string recipients, string expected)
    {
        var time = new VirtualTime(Now);
        await using Receiving receiving = await Receiving.StartAsync(time: time);
        ReceivingSession session = receiving.Connect(client);
        await session.ReplyAsync();
        await session.AskAsync(hello);
        await session.AskAsync("MAIL FROM:<a@example.org>" + parameters);
        foreach (string recipient in recipients.Split(' '))
            Assert.StartsWith("250", await session.AskAsync($"RCPT TO:<{recipient}>"), StringComparison.Ordinal);
        await session.AskAsync("DATA");
        string reply = await session.AskAsync("text\r\n.");
        (Envelope envelope, byte[] data) = Assert.Single(receiving.Stored());
        Assert.Equal($"250 2.0.0 Ok: queued as {envelope.Id}", reply);
        Assert.Equal(expected.Replace("ID", envelope.Id.ToString(), StringComparison.Ordinal) + "text\r\n", Encoding.UTF8.GetString(data));
    }

    [Fact]
    public void The_longest_received_field_has_room()
    {
        string domain = string.Join('.', Enumerable.Repeat(new string('d', 62), 4));
        Span<byte> to = stackalloc byte[TraceHeader.MaxLength];
        int length = TraceHeader.Write(to, domain, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", domain, "UTF8SMTP", new QueueId(long.MaxValue),
            [new Recipient(new string('l', 255) + "@" + domain)], Now);
        Assert.InRange(length, 1000, TraceHeader.MaxLength);
        Assert.True(to[..length].EndsWith(" +0000\r\n"u8));
    }
}
