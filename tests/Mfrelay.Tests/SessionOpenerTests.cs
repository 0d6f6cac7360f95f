using System.Net;
using System.Net.Sockets;
using MailKit.Net.Smtp;
using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class SessionOpenerTests
{
    [Fact]
    public async Task The_session_knows_what_EHLO_told_and_ends_with_QUIT()
    {
        await using var peer = new ScriptedPeer(ScriptedPeer.Hello + """
            S: 250-SIZE 12345
            S: 250-CHUNKING
            S: 250-SMTPUTF8
            S: 250 DSN
            C: QUIT
            S: 221 bye
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(12345, session.MaxSize);
        Assert.Equal(SmtpCapabilities.Size | SmtpCapabilities.Chunking | SmtpCapabilities.UTF8 | SmtpCapabilities.Dsn, session.Capabilities);
        Assert.True(session.IsUsable());
        await session.QuitAsync(TestContext.Current.CancellationToken);
        Assert.True(session.IsClosed);
    }

    [Theory]
    [InlineData("S: 554 5.7.1 not you", "greeting: 554 5.7.1 not you")]
    [InlineData("S: 450 later", "greeting: 450 later")]
    [InlineData("S: 421-4.3.2 going\nS: 421 4.3.2 down", "greeting: 421 4.3.2 going down")]
    [InlineData("S: 354 what", "greeting: not an SMTP reply")]
    [InlineData("S: SSH-2.0-OpenSSH_9.2", "greeting: not an SMTP reply")]
    [InlineData("S: 220 hi\nS: 250 and more", "greeting: not an SMTP reply")]
    [InlineData("! close", "greeting: connection closed")]
    [InlineData("! nothing 50\n! reset", "greeting: connection closed*")]
    [InlineData("! silence", "greeting: timed out")]
    [InlineData("! endless", "greeting: reply too long")]
    [InlineData("S: 220 hi\nC: EHLO *\nS: 450 4.3.2 later", "ehlo: 450 4.3.2 later")]
    [InlineData("S: 220 hi\nC: EHLO *\nS: 421 4.3.2 bye", "ehlo: 421 4.3.2 bye")]
    [InlineData("S: 220 hi\nC: EHLO *\nS: 502 no\nC: HELO relay.example\nS: 550 5.7.1 no", "ehlo: 550 5.7.1 no")]
    [InlineData("S: 220 hi\nC: EHLO *\nS: what?", "ehlo: not an SMTP reply")]
    [InlineData("S: 220 hi\nC: EHLO *\nS: 250 ok\nS: 250 twice", "ehlo: not an SMTP reply")]
    [InlineData("S: 220 hi\nC: EHLO *\n! close", "ehlo: connection closed")]
    [InlineData("S: 220 hi\nC: EHLO *\n! reset", "ehlo: connection closed*")]
    [InlineData("S: 220 hi\nC: EHLO *\n! silence", "ehlo: timed out")]
    [InlineData("S: 220 hi\nC: EHLO *\nS: 250-half\n! silence", "ehlo: timed out")]
    [InlineData("S: 220 hi\nC: EHLO *\n! endless", "ehlo: reply too long")]
    public async Task A_session_that_cannot_be_opened_says_at_which_stage_and_why(string script, string expected)
    {
        await using var peer = new ScriptedPeer(script);
        Opening opening = await new SessionOpener(Sending.Impatient).OpenAsync(peer.Server, TestContext.Current.CancellationToken);
        Assert.Null(opening.Session);
        string actual = opening.Outcome.ToString();
        Assert.Equal(expected.TrimEnd('*'), expected.EndsWith('*') ? actual[..(expected.Length - 1)] : actual);
        Assert.Equal(Scope.Host, ReplyClassifier.Classify(opening.Outcome).Scope);
    }

    [Fact]
    public async Task A_server_that_knows_no_EHLO_gets_HELO_and_has_no_extensions()
    {
        await using var peer = new ScriptedPeer("""
            S: 220 old
            C: EHLO relay.example
            S: 500 what
            C: HELO relay.example
            S: 250 hello
            C: MAIL FROM:<s@a.example>
            S: 250 ok
            C: RCPT TO:<r@b.example>
            S: 250 ok
            C: DATA
            S: 354 go
            C data
            S: 250 done
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(SmtpCapabilities.None, session.Capabilities);
        Assert.Equal(["final dot: 250 done"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
    }

    [Fact]
    public async Task Greeting_and_EHLO_reply_may_come_octet_by_octet()
    {
        await using var peer = new ScriptedPeer("""
            ! drip
            S: 220-peer
            S: 220 ESMTP
            C: EHLO relay.example
            S: 250-peer
            S: 250-SIZE 99
            S: 250 PIPELINING
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(99, session.MaxSize);
    }

    [Fact]
    public async Task An_octet_now_and_then_does_not_prolong_the_wait_for_the_greeting()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        Task<Opening> opening = new SessionOpener(Sending.Impatient).OpenAsync(ServerOf(listener, "127.0.0.1"), TestContext.Current.CancellationToken);
        using Socket socket = await listener.AcceptSocketAsync(TestContext.Current.CancellationToken);
        await socket.SendAsync("220 "u8.ToArray());
        for (int i = 0; i < 100 && !socket.Poll(0, SelectMode.SelectRead); i++)
        {
            await socket.SendAsync("x"u8.ToArray());
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
        Assert.True(socket.Poll(0, SelectMode.SelectRead), "The client still waits");
        Assert.Equal("greeting: timed out", (await opening).Outcome.ToString());
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("::1")]
    [InlineData("localhost")]
    public async Task Hosts_are_addresses_of_both_families_or_names(string host)
    {
        bool six = host.Contains(':', StringComparison.Ordinal);
        Assert.SkipUnless(!six || Socket.OSSupportsIPv6, "No IPv6 here");
        using var listener = new TcpListener(six ? IPAddress.IPv6Loopback : IPAddress.Loopback, 0);
        listener.Start();
        Task<Opening> opening = new SessionOpener(Sending.Settings).OpenAsync(ServerOf(listener, host), TestContext.Current.CancellationToken);
        using Socket socket = await listener.AcceptSocketAsync(TestContext.Current.CancellationToken);
        await socket.SendAsync("220 hi\r\n"u8.ToArray());
        await socket.ReceiveAsync(new byte[100]);
        await socket.SendAsync("250 hi\r\n"u8.ToArray());
        using OutboundSession? session = (await opening).Session;
        Assert.NotNull(session);
        Assert.Equal(listener.LocalEndpoint.ToString(), session.RemoteAddress.Replace("::ffff:", "", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_closed_port_and_an_unknown_name_cannot_be_reached()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        MailServer server = ServerOf(listener, "127.0.0.1");
        listener.Stop();
        var opener = new SessionOpener(Sending.Settings with { ConnectTimeout = TimeSpan.FromSeconds(2) });
        Opening refused = await opener.OpenAsync(server, TestContext.Current.CancellationToken);
        Assert.Equal("connect: cannot connect: Connection refused", refused.Outcome.ToString());

        Opening unknown = await opener.OpenAsync(server with { Host = "no such host" }, TestContext.Current.CancellationToken);
        Assert.Equal((Stage.Connect, Failure.Unreachable), (unknown.Outcome.Stage, unknown.Outcome.Failure));
    }

    [Fact]
    public async Task A_connect_that_nobody_answers_times_out()
    {
        // A listener with a full backlog drops further SYNs.
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(0);
        var server = new MailServer { Domain = "*", Host = "127.0.0.1", Port = ((IPEndPoint)listener.LocalEndPoint!).Port };
        using var first = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await first.ConnectAsync(listener.LocalEndPoint!, TestContext.Current.CancellationToken);
        Opening opening = await new SessionOpener(Sending.Impatient).OpenAsync(server, TestContext.Current.CancellationToken);
        Assert.Equal("connect: timed out", opening.Outcome.ToString());
    }

    [Fact]
    public async Task Opening_stops_when_it_is_cancelled()
    {
        await using var peer = new ScriptedPeer("S: 220 peer.example ESMTP\nC: EHLO relay.example\n! cancel\n! silence");
        Opening opening = await new SessionOpener(Sending.Settings).OpenAsync(peer.Server, peer.Cancelled);
        Assert.Equal("ehlo: cancelled", opening.Outcome.ToString());
    }

    [Theory]
    [InlineData("S: 421 4.4.2 idle for too long\n! silence")]
    [InlineData("! close")]
    public async Task An_idle_session_that_the_server_has_ended_is_not_usable(string end)
    {
        await using var peer = new ScriptedPeer(ScriptedPeer.Hello + "S: 250 PIPELINING\n! nothing 100\n" + end);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.True(session.IsUsable());
        for (int i = 0; i < 100 && session.IsUsable(); i++)
            await Task.Delay(10, TestContext.Current.CancellationToken);
        Assert.False(session.IsUsable());
        await session.QuitAsync(TestContext.Current.CancellationToken);
    }

    private static MailServer ServerOf(TcpListener listener, string host) =>
        new() { Domain = "*", Host = host, Port = ((IPEndPoint)listener.LocalEndpoint).Port };
}
