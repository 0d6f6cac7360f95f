using System.Net.Sockets;
using MailKit.Net.Smtp;
using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class TransactionEnvelopeTests
{
    private const string Hello = ScriptedPeer.Hello;

    [Fact]
    public async Task Parameters_are_said_to_a_server_that_has_them()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250-PIPELINING
            S: 250-SIZE 1000
            S: 250-8BITMIME
            S: 250-SMTPUTF8
            S: 250 DSN
            C: MAIL FROM:<s@a.example> SIZE=12 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1
            C: RCPT TO:<寿司@b.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=utf-8;x@b.example
            C: RCPT TO:<two@b.example> NOTIFY=NEVER
            C: RCPT TO:<three@b.example> NOTIFY=DELAY
            C: RCPT TO:<four@b.example>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 250 ok
            S: 250 ok
            S: 250 ok
            S: 354 go
            C data
            S: 250 ok
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Envelope envelope = Sending.Envelope() with
        {
            Return = DsnReturn.Headers,
            EnvelopeId = "QQ+2B1",
            Recipients =
            [
                new Recipient("寿司@b.example", DsnNotify.Success | DsnNotify.Failure | DsnNotify.Delay, "utf-8;x@b.example"),
                new Recipient("two@b.example", DsnNotify.Never),
                new Recipient("three@b.example", DsnNotify.Delay),
                new Recipient("four@b.example"),
            ],
        };
        Assert.All(await Sending.SendAsync(session, Sending.Message(envelope, "寿司\r\n\r\n\r\n")), text => Assert.Equal("final dot: 250 ok", text));
    }

    [Fact]
    public async Task A_server_without_extensions_gets_no_parameters_and_the_same_octets()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 HELP
            C: MAIL FROM:<s@a.example>
            S: 250 ok
            C: RCPT TO:<r@b.example>
            S: 250 ok
            C: DATA
            S: 354 go
            C data
            S: 250 ok
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Envelope envelope = Sending.Envelope() with
        {
            SmtpUtf8 = true,
            Body = BodyType.EightBitMime,
            Return = DsnReturn.Full,
            EnvelopeId = "x",
            Recipients = [new Recipient("r@b.example", DsnNotify.Never, "rfc822;r@b.example")],
        };
        await Sending.SendAsync(session, Sending.Message(envelope, "寿司\r\n"));
        Assert.Equal("寿司\r\n"u8.ToArray(), Assert.Single(peer.Mail));
    }

    [Fact]
    public async Task SMTPUTF8_is_said_only_for_a_non_ASCII_address()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250-PIPELINING
            S: 250 SMTPUTF8
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<r@b.example>
            C: DATA
            ! close
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        await Sending.SendAsync(session, Sending.Message(Sending.Envelope("r@b.example") with { SmtpUtf8 = true }, "x\r\n"));
    }

    [Fact]
    public async Task Addresses_are_sent_exactly_as_stored()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 PIPELINING
            C: MAIL FROM:<>
            C: RCPT TO:<"a b\"c>"@b.example>
            C: RCPT TO:<"\\"@[192.0.2.1]>
            C: RCPT TO:<UPPER.lower+tag@B.Example>
            C: RCPT TO:<postmaster>
            C: DATA
            ! close
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        await Sending.SendAsync(session, Sending.Message(
            Sending.Envelope("\"a b\\\"c>\"@b.example", "\"\\\\\"@[192.0.2.1]", "UPPER.lower+tag@B.Example", "postmaster") with { ReversePath = "" }, "x\r\n"));
    }

    [Fact]
    public async Task What_cannot_be_said_is_refused_for_those_it_concerns()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 PIPELINING
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<fine@b.example>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 354 go
            C data
            S: 250 ok
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Envelope envelope = Sending.Envelope("x\r\nRSET\r\n@b.example", "fine@b.example", "寿司@b.example", "x\0@b.example", new string('x', 3000)) with { };
        envelope = envelope with { Recipients = [.. envelope.Recipients, new Recipient("r@b.example", OriginalRecipient: "rfc822;x NOTIFY=NEVER")] };
        Assert.Equal(
            [
                "rcpt: address with a control character",
                "final dot: 250 ok",
                "rcpt: next hop has no SMTPUTF8",
                "rcpt: address with a control character",
                "rcpt: address with a control character",
                "rcpt: address with a control character",
            ],
            await Sending.SendAsync(session, Sending.Message(envelope, "x\r\n")));
    }

    [Fact]
    public async Task Without_PIPELINING_no_DATA_follows_when_the_last_recipient_was_not_even_asked_for()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 HELP
            C: MAIL FROM:<s@a.example>
            S: 250 ok
            C: RCPT TO:<no@b.example>
            S: 550 no
            ! nothing 50
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(
            ["rcpt: 550 no", "rcpt: address with a control character"],
            await Sending.SendAsync(session, Sending.Message("no@b.example", "x\n@b.example")));
        await Task.Delay(80, TestContext.Current.CancellationToken);
    }

    [Theory]
    [InlineData("s@a.example\r\nRCPT TO:<x@y>", null, "mail: address with a control character")]
    [InlineData("s@a.example", "a b", "mail: address with a control character")]
    [InlineData("寿司@a.example", null, "mail: next hop has no SMTPUTF8")]
    [InlineData("s@a.example", "large", "mail: larger than the next hop's SIZE")]
    public async Task A_message_that_cannot_be_sent_to_this_server_costs_no_round_trip(string reversePath, string? envelopeId, string expected)
    {
        await using var peer = new ScriptedPeer(Hello + "S: 250-SIZE 20\nS: 250 PIPELINING\n! nothing 50\n! eof");
        using OutboundSession session = await Sending.OpenAsync(peer);
        Envelope envelope = Sending.Envelope("r@b.example") with { ReversePath = reversePath, EnvelopeId = envelopeId };
        string data = envelopeId is "large" ? "more than twenty octets\r\n" : "x\r\n";
        Assert.Equal([expected], await Sending.SendAsync(session, Sending.Message(envelope, data)));
        Assert.True(session.IsUsable());
        await Task.Delay(80, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Only_the_recipients_still_open_are_named()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 PIPELINING
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<c@b.example>
            C: RCPT TO:<a@b.example>
            C: DATA
            S: 250 ok
            S: 550 no c
            S: 250 ok
            S: 354 go
            C data
            S: 250 ok
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        SpooledMessage message = Sending.Message("a@b.example", "b@b.example", "c@b.example");
        var some = new Transaction(session, message, [new OpenRecipient(2, "c@b.example"), new OpenRecipient(0, "a@b.example")]);
        Assert.Equal(["rcpt: 550 no c", "final dot: 250 ok"], await Sending.SendAsync(session, some));
    }

    [Theory]
    [InlineData("PIPELINING")]
    [InlineData("HELP")]
    public async Task A_thousand_recipients_with_long_replies_take_one_transaction(string keyword)
    {
        string[] paths = ThousandPaths();
        await using var peer = new ScriptedPeer(receiveBuffer: 2048, $"{Hello}S: 250 {keyword}\n{ThousandReplies(paths)}");
        using OutboundSession session = await Sending.OpenAsync(peer);
        AssertNineHundredAccepted(await Sending.SendAsync(session, Sending.Message(paths)));
    }

    [Fact]
    public async Task Replies_are_read_while_the_envelope_is_still_being_written()
    {
        // All four buffers between the two are a few KiB, and the peer stops reading while it cannot write: who only writes waits for ever.
        string[] paths = ThousandPaths();
        await using var peer = new ScriptedPeer(receiveBuffer: 2048, ThousandReplies(paths));
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, SendBufferSize = 2048, ReceiveBufferSize = 2048 };
        await socket.ConnectAsync(peer.Server.Host, peer.Server.Port, TestContext.Current.CancellationToken);
        SessionSettings settings = Sending.Settings with { CommandTimeout = TimeSpan.FromSeconds(3) };
        using var session = new OutboundSession(new Wire(socket), SmtpCapabilities.Pipelining, maxSize: 0, settings);
        AssertNineHundredAccepted(await Sending.SendAsync(session, Sending.Message(paths)));
    }

    private static string[] ThousandPaths() => [.. Enumerable.Range(0, 1000).Select(i => $"recipient-{i:d4}@b.example")];

    /// <summary>Answers every command before it reads the next, with 600 octets to each RCPT; every tenth is refused.</summary>
    private static string ThousandReplies(string[] paths)
    {
        string rcpts = string.Concat(paths.Select((path, i) => $"C: RCPT TO:<{path}>\nS: {(i % 10 == 0 ? "550" : "250")} {LongText}\n"));
        return $"C: MAIL *\nS: 250 ok\n{rcpts}C: DATA\nS: 354 go\nC data\nS: 250 ok\n! eof";
    }

    private static string LongText { get; } = new('x', 594);

    private static void AssertNineHundredAccepted(string[] outcomes) =>
        Assert.All(outcomes, (text, i) => Assert.Equal(i % 10 == 0 ? $"rcpt: 550 {LongText}" : "final dot: 250 ok", text));
}
