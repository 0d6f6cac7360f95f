using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>The next envelope travels with the mail data of the message before it (RFC 2920 3.1).</summary>
public sealed class TransactionAheadTests
{
    private const string Greeting = ScriptedPeer.Hello + """
        S: 250 PIPELINING

        """;

    private const string First = """
        C: MAIL FROM:<s@a.example>
        C: RCPT TO:<one@b.example>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 354 go
        C data

        """;

    private const string Second = """
        C: MAIL FROM:<s@a.example>
        C: RCPT TO:<two@b.example>
        C: DATA

        """;

    private static readonly SpooledMessage One = Sending.Message("one@b.example"), Two = Sending.Message("two@b.example");

    [Fact]
    public async Task Two_messages_take_three_round_trips()
    {
        await using var peer = new ScriptedPeer(Greeting + First + Second + """
            S: 250 2.0.0 queued as 1
            S: 250 ok
            S: 250 ok
            S: 354 go
            C data
            S: 250 2.0.0 queued as 2
            C: QUIT
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Transaction two = Offer(session, Two);
        Assert.Equal(["final dot: 250 2.0.0 queued as 1"], await Sending.SendAsync(session, One));
        Assert.True(two.IsAhead);
        Assert.False(session.IsUsable()); // for anything else than the one that has begun
        Assert.Equal(["final dot: 250 2.0.0 queued as 2"], await Sending.SendAsync(session, two));
        Assert.Equal(2, session.Transactions);
        await session.QuitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(2, peer.Mail.Count);
    }

    [Fact]
    public async Task A_message_that_is_refused_says_nothing_about_the_next()
    {
        await using var peer = new ScriptedPeer(Greeting + First + Second + """
            S: 554 5.7.1 not this one
            S: 250 ok
            S: 550 5.1.1 no such user
            S: 503 5.5.1 no recipients
            C: RSET
            S: 250 ok
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<one@b.example>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 354 go
            C data
            S: 250 ok
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Transaction two = Offer(session, Two);
        Assert.Equal(["final dot: 554 5.7.1 not this one"], await Sending.SendAsync(session, One));
        Assert.Equal(["rcpt: 550 5.1.1 no such user"], await Sending.SendAsync(session, two));
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, One));
    }

    [Theory]
    [InlineData("S: 421 4.3.2 going down\n! close", "final dot: 421 4.3.2 going down")]
    [InlineData("! close", "final dot: connection closed (uncertain)")]
    public async Task A_session_that_ends_with_one_message_is_over_for_the_next(string end, string outcome)
    {
        await using var peer = new ScriptedPeer(Greeting + First + Second + end);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Offer(session, Two);
        Assert.Equal([outcome], await Sending.SendAsync(session, One));
        Assert.True(session.IsClosed);
    }

    [Fact]
    public async Task A_session_that_ends_between_two_messages_has_taken_the_first_alone()
    {
        await using var peer = new ScriptedPeer(Greeting + First + Second + """
            S: 250 ok
            S: 421 4.7.0 enough for one session
            ! close
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Transaction two = Offer(session, Two);
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, One));
        Assert.Equal(["mail: 421 4.7.0 enough for one session"], await Sending.SendAsync(session, two));
    }

    [Fact]
    public async Task A_reply_too_many_is_not_taken_for_the_one_to_the_next_mail_data()
    {
        await using var peer = new ScriptedPeer(Greeting + First + Second + """
            S: 250 ok
            S: 250 ok, really
            S: 250 ok
            S: 250 ok
            S: 354 go
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Transaction two = Offer(session, Two);
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, One));
        Assert.Equal(["data: not an SMTP reply"], await Sending.SendAsync(session, two));
        Assert.Single(peer.Mail);
    }

    [Fact]
    public async Task A_reply_too_many_refuses_nobody_in_the_place_of_another()
    {
        await using var peer = new ScriptedPeer(Greeting + First + """
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<refused@b.example>
            C: RCPT TO:<taken@b.example>
            C: DATA
            S: 250 ok
            S: 250 ok, really
            S: 250 ok
            S: 550 5.1.1 no such user
            S: 250 ok
            S: 354 go
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Transaction two = Offer(session, Sending.Message("refused@b.example", "taken@b.example"));
        await Sending.SendAsync(session, One);
        Assert.Equal(["data: not an SMTP reply", "data: not an SMTP reply"], await Sending.SendAsync(session, two));
    }

    [Fact]
    public async Task Nor_where_the_refusal_of_the_last_stands_in_the_place_of_the_go_ahead()
    {
        await using var peer = new ScriptedPeer(Greeting + First + """
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<taken@b.example>
            C: RCPT TO:<refused@b.example>
            C: DATA
            S: 250 ok
            S: 250 ok, really
            S: 250 ok
            S: 250 ok
            S: 550 5.1.1 no such user
            S: 354 go
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Transaction two = Offer(session, Sending.Message("taken@b.example", "refused@b.example"));
        await Sending.SendAsync(session, One);
        Assert.Equal(["mail: not an SMTP reply", "mail: not an SMTP reply"], await Sending.SendAsync(session, two));
    }

    [Fact]
    public async Task A_mail_server_that_has_given_up_waiting_gets_no_mail_data()
    {
        await using var peer = new ScriptedPeer(Greeting + First + Second + """
            S: 250 ok
            S: 250 ok
            S: 250 ok
            S: 354 go
            ! close
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Transaction two = Offer(session, Two);
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, One));
        await Task.Delay(100, TestContext.Current.CancellationToken); // as when the done journal could not be written
        Assert.Equal(["data: connection closed"], await Sending.SendAsync(session, two));
        Assert.Single(peer.Mail);
    }

    [Fact]
    public async Task Without_PIPELINING_the_next_envelope_waits()
    {
        await using var peer = new ScriptedPeer(ScriptedPeer.Hello + """
            S: 250 8BITMIME
            C: MAIL FROM:<s@a.example>
            S: 250 ok
            C: RCPT TO:<one@b.example>
            S: 250 ok
            C: DATA
            S: 354 go
            C data
            ! nothing 50
            S: 250 ok
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        session.Next = () => throw new InvalidOperationException("Asked for it");
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, One));
    }

    [Fact]
    public async Task An_envelope_that_does_not_fit_waits()
    {
        await using var peer = new ScriptedPeer(Greeting + First + """
            ! nothing 50
            S: 250 ok
            C: QUIT
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Transaction many = Offer(session, Sending.Message([.. Enumerable.Range(0, 100).Select(i => $"{i}-{new string('x', 60)}@b.example")]));
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, One));
        Assert.False(many.IsAhead);
        await session.QuitAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task What_cannot_be_said_to_this_mail_server_waits_to_be_looked_at()
    {
        await using var peer = new ScriptedPeer(Greeting + First + """
            ! nothing 50
            S: 250 ok
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Transaction two = Offer(session, Sending.Message("zwei@büro.example"));
        Assert.Equal(["final dot: 250 ok"], await Sending.SendAsync(session, One));
        Assert.Equal(["rcpt: next hop has no SMTPUTF8"], await Sending.SendAsync(session, two));
    }

    private static Transaction Offer(OutboundSession session, SpooledMessage message)
    {
        Transaction transaction = Sending.Transaction(session, message);
        session.Next = () =>
        {
            session.Next = null;
            return transaction;
        };
        return transaction;
    }
}
