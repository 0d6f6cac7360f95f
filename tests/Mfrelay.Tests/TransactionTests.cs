using Mfrelay.Client;
using Xunit;

namespace Mfrelay.Tests;

public sealed class TransactionTests
{
    private const string Hello = ScriptedPeer.Hello;

    /// <summary>Greets, and takes the commands of a message to r@b.example before it answers the first.</summary>
    private const string HelloAndEnvelope = Hello + """
        S: 250 PIPELINING
        C: MAIL FROM:<s@a.example>
        C: RCPT TO:<r@b.example>
        C: DATA

        """;

    [Fact]
    public async Task With_PIPELINING_a_message_takes_two_round_trips()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 PIPELINING
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<one@b.example>
            C: RCPT TO:<two@b.example>
            C: DATA
            ! nothing 50
            S: 250 ok
            S: 250 ok
            S: 251 will forward
            S: 354 go
            C data
            S: 250 2.0.0 queued as 1
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<three@b.example>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 354 go
            C data
            S: 250 2.0.0 queued as 2
            C: QUIT
            S: 221 bye
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        string[] first = await Sending.SendAsync(session, Sending.Message("one@b.example", "two@b.example"));
        Assert.Equal(["final dot: 250 2.0.0 queued as 1", "final dot: 250 2.0.0 queued as 1"], first);
        Assert.Equal(["final dot: 250 2.0.0 queued as 2"], await Sending.SendAsync(session, Sending.Message("three@b.example")));
        Assert.Equal(2, session.Transactions);
        await session.QuitAsync(TestContext.Current.CancellationToken);
        Assert.Equal("Subject: x\r\n\r\n.\r\n"u8.ToArray(), peer.Mail[0]);
    }

    [Fact]
    public async Task Without_PIPELINING_each_command_waits_for_its_reply()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 SIZE 0
            C: MAIL FROM:<s@a.example> SIZE=17
            ! nothing 30
            S: 250 ok
            C: RCPT TO:<one@b.example>
            ! nothing 30
            S: 550 5.1.1 no such user
            C: RCPT TO:<two@b.example>
            S: 250 ok
            C: DATA
            S: 354 go
            C data
            S: 250 ok
            C: MAIL FROM:<s@a.example> SIZE=17
            S: 250 ok
            C: RCPT TO:<none@b.example>
            S: 550 5.1.1 no such user
            C: RSET
            ! nothing 30
            S: 250 ok
            C: MAIL FROM:<s@a.example> SIZE=17
            S: 552 5.3.4 too large
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(
            ["rcpt: 550 5.1.1 no such user", "final dot: 250 ok"],
            await Sending.SendAsync(session, Sending.Message("one@b.example", "two@b.example")));
        Assert.Equal(["rcpt: 550 5.1.1 no such user"], await Sending.SendAsync(session, Sending.Message("none@b.example")));
        Assert.Equal(["mail: 552 5.3.4 too large"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.True(session.IsUsable());
    }

    [Fact]
    public async Task Every_recipient_has_a_reply_of_its_own()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 PIPELINING
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<a@b.example>
            C: RCPT TO:<b@b.example>
            C: RCPT TO:<c@b.example>
            C: RCPT TO:<d@b.example>
            C: DATA
            ! drip
            S: 250 ok
            S: 550-5.1.1 no
            S: 550 5.1.1 such user
            S: 250 ok
            S: 450 4.2.1 busy
            S: 452 4.5.3 too many
            S: 354 go
            C data
            S: 250 ok
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(
            ["rcpt: 550 5.1.1 no such user", "final dot: 250 ok", "rcpt: 450 4.2.1 busy", "rcpt: 452 4.5.3 too many"],
            await Sending.SendAsync(session, Sending.Message("a@b.example", "b@b.example", "c@b.example", "d@b.example")));
    }

    [Theory]
    [InlineData("250 ok", "550 5.1.1 no", "rcpt: 550 5.1.1 no")]
    [InlineData("550 5.7.1 no", "503 no", "mail: 550 5.7.1 no")]
    public async Task When_354_comes_although_nobody_was_accepted_a_lone_dot_ends_the_transaction(string mail, string rcpt, string expected)
    {
        await using var peer = new ScriptedPeer(HelloAndEnvelope + $"""
            S: {mail}
            S: {rcpt}
            S: 354 go
            C: .
            S: 554 5.5.1 no valid recipients
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<r@b.example>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 354 go
            C data
            S: 250 ok
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal([expected], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
    }

    [Fact]
    public async Task A_server_that_has_recipients_for_a_refused_MAIL_gets_no_dot()
    {
        await using var peer = new ScriptedPeer(HelloAndEnvelope + """
            S: 450 later
            S: 250 ok
            S: 354 go
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(["mail: 450 later"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.True(session.IsClosed);
    }

    [Theory]
    [InlineData("250 ok", "550 no", "503 none", "rcpt: 550 no")]
    [InlineData("450 later", "503 none", "503 none", "mail: 450 later")]
    [InlineData("250 ok", "250 ok", "451 4.3.0 disk", "data: 451 4.3.0 disk")]
    public async Task A_refused_transaction_is_followed_by_RSET_in_the_same_write_as_the_next(string mail, string rcpt, string data, string expected)
    {
        await using var peer = new ScriptedPeer(HelloAndEnvelope + $"""
            S: {mail}
            S: {rcpt}
            S: {data}
            C: RSET
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<r@b.example>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 250 ok
            S: 354 go
            C data
            S: 250 ok
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal([expected], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
    }

    [Theory]
    [InlineData("mail")]
    [InlineData("rcpt")]
    [InlineData("data")]
    [InlineData("final dot")]
    public async Task The_dialog_can_break_in_every_way_at_every_stage(string stage)
    {
        string before = stage switch
        {
            "mail" => "",
            "rcpt" => "S: 250 ok\n",
            "data" => "S: 250 ok\nS: 250 ok\n",
            _ => "S: 250 ok\nS: 250 ok\nS: 354 go\nC data\n",
        };
        (string Does, string Seen, bool Answered)[] endings =
        [
            ("S: 421 4.3.2 shutting down\n! close", "421 4.3.2 shutting down", true),
            ("! close", "connection closed", false),
            ("! reset", "connection closed", false),
            ("S: 250-half\n! silence", "timed out", false),
            ("! silence", "timed out", false),
            ("S: HTTP/1.1 400 Bad Request", "not an SMTP reply", false),
            ("! endless", "reply too long", false),
            (stage is "data" ? "S: 250 what\n! eof" : "S: 354 what\n! eof", "not an SMTP reply", false),
        ];
        foreach ((string does, string seen, bool answered) in endings)
        {
            await using var peer = new ScriptedPeer(HelloAndEnvelope + before + does);
            using OutboundSession session = await Sending.OpenAsync(peer, Sending.Impatient);
            string uncertain = stage is "final dot" && !answered ? " (uncertain)" : "";
            Assert.Equal([$"{stage}: {seen}{uncertain}"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
            Assert.True(session.IsClosed);
            Assert.False(session.IsUsable());
        }
    }

    [Theory]
    [InlineData("S: 450 4.3.0 later", "final dot: 450 4.3.0 later")]
    [InlineData("S: 554 5.6.0 no", "final dot: 554 5.6.0 no")]
    public async Task A_refused_final_dot_leaves_the_session_usable(string reply, string expected)
    {
        await using var peer = new ScriptedPeer(HelloAndEnvelope + $"""
            S: 250 ok
            S: 250 ok
            S: 354 go
            C data
            {reply}
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<r@b.example>
            C: DATA
            ! close
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal([expected], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.True(session.IsUsable());
        Assert.Equal(["mail: connection closed"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
    }

    [Fact]
    public async Task Recipients_refused_before_the_connection_broke_keep_their_reply()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 PIPELINING
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<a@b.example>
            C: RCPT TO:<b@b.example>
            C: RCPT TO:<c@b.example>
            C: DATA
            S: 250 ok
            S: 550 no
            S: 250 ok
            S: 421 bye
            ! close
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(
            ["rcpt: 550 no", "rcpt: 421 bye", "rcpt: 421 bye"],
            await Sending.SendAsync(session, Sending.Message("a@b.example", "b@b.example", "c@b.example")));
    }

    [Fact]
    public async Task A_reply_that_nothing_asked_for_is_not_taken_for_the_one_to_the_final_dot()
    {
        await using var peer = new ScriptedPeer(HelloAndEnvelope + """
            S: 250 ok
            S: 250 ok
            S: 354 go
            S: 250 done already
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(["data: not an SMTP reply"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
    }

    [Fact]
    public async Task A_reply_too_many_after_the_final_dot_ends_the_session_but_not_the_delivery()
    {
        await using var peer = new ScriptedPeer(HelloAndEnvelope + """
            S: 250 ok
            S: 250 ok
            S: 354 go
            C data
            S: 250 ok
            S: 250 ok again
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.True(session.IsClosed);
    }

    [Fact]
    public async Task A_refused_RSET_ends_the_session_and_blames_no_message()
    {
        await using var peer = new ScriptedPeer(HelloAndEnvelope + """
            S: 450 later
            S: 503 no
            S: 503 no
            C: RSET
            C: MAIL *
            C: RCPT *
            C: DATA
            S: 500 what
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        await Sending.SendAsync(session, Sending.Message("r@b.example"));
        Assert.Equal(["mail: not an SMTP reply"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
    }

    [Fact]
    public async Task Cancelling_ends_the_wait_at_once()
    {
        await using var peer = new ScriptedPeer(HelloAndEnvelope + "S: 250 ok\n! nothing 300\n! cancel\n! silence");
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(["rcpt: cancelled"], await Sending.SendAsync(session, Sending.Message("r@b.example"), peer.Cancelled));
        Assert.True(session.IsClosed);

        await using var taking = new ScriptedPeer(HelloAndEnvelope + "S: 250 ok\nS: 250 ok\nS: 354 go\nC data\n! cancel\n! silence");
        using OutboundSession second = await Sending.OpenAsync(taking);
        Assert.Equal(["final dot: cancelled (uncertain)"], await Sending.SendAsync(second, Sending.Message("r@b.example"), taking.Cancelled));
    }

    [Fact]
    public async Task Quitting_does_not_wait_for_a_silent_server()
    {
        await using var peer = new ScriptedPeer(Hello + "S: 250 PIPELINING\nC: QUIT\n! silence");
        OutboundSession session = await Sending.OpenAsync(peer, Sending.Impatient);
        await session.QuitAsync(TestContext.Current.CancellationToken);
        Assert.True(session.IsClosed);
    }
}
