using System.Globalization;
using FsCheck.Fluent;
using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class TransactionDataTests : IDisposable
{
    private readonly string _spool = Directory.CreateTempSubdirectory("mfrelay-test-").FullName;

    public void Dispose() => Directory.Delete(_spool, recursive: true);

    private const string Hello = ScriptedPeer.Hello;
    private const string Envelope = "C: MAIL FROM:<s@a.example>\nC: RCPT TO:<r@b.example>\n";

    /// <summary>Greets with CHUNKING and PIPELINING; takes envelope and chunk of 17 octets before it answers the first.</summary>
    private const string HelloAndChunk = Hello + """
        S: 250-CHUNKING
        S: 250 PIPELINING
        C: MAIL FROM:<s@a.example>
        C: RCPT TO:<r@b.example>
        C: BDAT 17 LAST
        C octets 17

        """;

    [Fact]
    public async Task With_CHUNKING_a_small_message_takes_one_round_trip()
    {
        await using var peer = new ScriptedPeer(HelloAndChunk + """
            S: 250 ok
            S: 250 ok
            S: 250 2.0.0 queued
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<a@b.example>
            C: RCPT TO:<b@b.example>
            C: BDAT 17 LAST
            C octets 17
            ! drip
            S: 250 ok
            S: 550 no a
            S: 250 ok
            S: 250 2.0.0 queued
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(["bdat: 250 2.0.0 queued"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.Equal("Subject: x\r\n\r\n.\r\n"u8.ToArray(), peer.Mail[0]);
        Assert.Equal(["rcpt: 550 no a", "bdat: 250 2.0.0 queued"], await Sending.SendAsync(session, Sending.Message("a@b.example", "b@b.example")));
        Assert.True(session.IsUsable());
    }

    [Theory]
    [InlineData("250 ok", "550 no", "503 5.5.1 no recipients", "rcpt: 550 no")]
    [InlineData("250 ok", "550 no", "554 no recipients", "rcpt: 550 no")]
    [InlineData("450 later", "503 no", "503 no", "mail: 450 later")]
    [InlineData("250 ok", "250 ok", "554 5.6.0 virus", "bdat: 554 5.6.0 virus")]
    public async Task A_refused_chunk_stays_in_step_and_is_followed_by_RSET(string mail, string rcpt, string bdat, string expected)
    {
        await using var peer = new ScriptedPeer(HelloAndChunk + $"""
            S: {mail}
            S: {rcpt}
            S: {bdat}
            C: RSET
            C: MAIL FROM:<s@a.example>
            C: RCPT TO:<r@b.example>
            C: BDAT 17 LAST
            C octets 17
            S: 250 ok
            S: 250 ok
            S: 250 ok
            S: 250 ok
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal([expected], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.Equal(["bdat: 250 ok"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
    }

    [Theory]
    [InlineData("! close", "mail: connection closed (uncertain)")]
    [InlineData("S: 250 ok\n! silence", "rcpt: timed out (uncertain)")]
    [InlineData("S: 250 ok\nS: 250 ok\n! reset", "bdat: connection closed (uncertain)")]
    [InlineData("S: 250 ok\nS: 250 ok\nS: what", "bdat: not an SMTP reply (uncertain)")]
    [InlineData("S: 250 ok\nS: 250 ok\nS: 421 4.3.2 bye", "bdat: 421 4.3.2 bye")]
    [InlineData("S: 250 ok\nS: 550 no\n! close", "rcpt: 550 no")]
    public async Task A_chunk_without_a_reply_is_uncertain_for_those_not_refused(string does, string expected)
    {
        await using var peer = new ScriptedPeer(HelloAndChunk + does);
        using OutboundSession session = await Sending.OpenAsync(peer, Sending.Impatient);
        Assert.Equal([expected], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.True(session.IsClosed);
    }

    [Fact]
    public async Task Without_PIPELINING_the_chunk_follows_the_accepted_envelope()
    {
        await using var peer = new ScriptedPeer(Hello + """
            S: 250 CHUNKING
            C: MAIL FROM:<s@a.example>
            S: 250 ok
            C: RCPT TO:<r@b.example>
            S: 250 ok
            C: BDAT 17 LAST
            C octets 17
            S: 250 ok
            C: MAIL FROM:<s@a.example>
            S: 250 ok
            C: RCPT TO:<none@b.example>
            S: 550 no
            ! nothing 50
            ! eof
            """);
        using OutboundSession session = await Sending.OpenAsync(peer);
        Assert.Equal(["bdat: 250 ok"], await Sending.SendAsync(session, Sending.Message("r@b.example")));
        Assert.Equal(["rcpt: 550 no"], await Sending.SendAsync(session, Sending.Message("none@b.example")));
        await Task.Delay(80, TestContext.Current.CancellationToken);
    }

    [Theory]
    [InlineData(true, true, 1000)]
    [InlineData(true, false, 131072)]
    [InlineData(false, true, 1000)]
    [InlineData(false, true, 131072)]
    [InlineData(false, false, 131072)]
    public async Task A_large_message_is_sent_block_by_block_and_only_to_accepted_recipients(bool chunking, bool fromFile, int block)
    {
        byte[] data = LargeData(700_000);
        string body = chunking ? $"C: BDAT {data.Length} LAST\nC octets {data.Length}\n" : "C data\n";
        string data354 = chunking ? "" : "C: DATA\n";
        string go = chunking ? "" : "S: 354 go\n";
        await using var peer = new ScriptedPeer(
            $"{Hello}S: 250-PIPELINING\nS: 250 {(chunking ? "CHUNKING" : "HELP")}\n{Envelope}{data354}! nothing 50\nS: 250 ok\nS: 250 ok\n{go}{body}S: 250 ok\n"
            + $"{Envelope}{data354}S: 250 ok\nS: 550 no\n{(chunking ? "" : "S: 503 no\n")}! nothing 50\n! eof");
        using OutboundSession session = await Sending.OpenAsync(peer, Sending.Settings with { DataBlock = block });
        using SpooledMessage message = fromFile
            ? await Sending.SpooledAsync(_spool, Sending.Envelope("r@b.example"), data)
            : SpooledMessage.FromMemory(Sending.Envelope("r@b.example"), data);
        Assert.Equal([chunking ? "bdat: 250 ok" : "final dot: 250 ok"], await Sending.SendAsync(session, message));
        Assert.Equal(["rcpt: 550 no"], await Sending.SendAsync(session, message));
        Assert.Equal(data, Assert.Single(peer.Mail));
        await Task.Delay(80, TestContext.Current.CancellationToken);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_reason_of_a_server_that_breaks_off_within_the_data_is_heard(bool chunking)
    {
        byte[] data = LargeData(30_000_000);
        string command = chunking ? "" : "C: DATA\n";
        await using var peer = new ScriptedPeer(
            $"{Hello}S: 250-PIPELINING\nS: 250 {(chunking ? "CHUNKING" : "HELP")}\n{Envelope}{command}S: 250 ok\nS: 250 ok\n{(chunking ? "" : "S: 354 go\n")}"
            + "C octets 1000\nS: 452 4.3.1 disk full\n! deaf 100");
        using OutboundSession session = await Sending.OpenAsync(peer);
        string outcome = Assert.Single(await Sending.SendAsync(session, SpooledMessage.FromMemory(Sending.Envelope("r@b.example"), data)));
        Assert.Equal($"{(chunking ? "bdat" : "data")}: 452 4.3.1 disk full", outcome);
        Assert.True(session.IsClosed);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_server_that_stops_reading_the_data_times_out_and_is_not_uncertain(bool chunking)
    {
        string command = chunking ? "" : "C: DATA\n";
        await using var peer = new ScriptedPeer(
            receiveBuffer: 4096,
            $"{Hello}S: 250-PIPELINING\nS: 250 {(chunking ? "CHUNKING" : "HELP")}\n{Envelope}{command}S: 250 ok\nS: 250 ok\n{(chunking ? "" : "S: 354 go\n")}! deaf 900");
        using OutboundSession session = await Sending.OpenAsync(peer, Sending.Impatient);
        string outcome = Assert.Single(await Sending.SendAsync(session, SpooledMessage.FromMemory(Sending.Envelope("r@b.example"), LargeData(20_000_000))));
        Assert.Equal($"{(chunking ? "bdat" : "data")}: timed out", outcome);
    }

    [Theory]
    [InlineData(false, 7, true)]
    [InlineData(false, 64, true)]
    [InlineData(false, 131072, false)]
    [InlineData(true, 131072, true)]
    public async Task Random_mail_data_arrives_exactly(bool chunking, int block, bool large)
    {
        // Above the size that goes in one write, so that blocks and their seams are exercised.
        byte[] lead = large ? [.. Enumerable.Repeat("0123456789.\r\n"u8.ToArray(), 1300).SelectMany(line => line)] : [];
        byte[][] mails = [.. DotStufferTests.MailData.Sample(40, 60).Select(data => (byte[])[.. lead, .. data])];
        string script = Hello + $"S: 250-PIPELINING\nS: 250 {(chunking ? "CHUNKING" : "HELP")}\n" + string.Concat(mails.Select(data => chunking
            ? string.Create(CultureInfo.InvariantCulture, $"{Envelope}S: 250 ok\nS: 250 ok\nC: BDAT {data.Length} LAST\nC octets {data.Length}\nS: 250 ok\n")
            : $"{Envelope}C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC data\nS: 250 ok\n"));
        await using (var peer = new ScriptedPeer(script))
        {
            using OutboundSession session = await Sending.OpenAsync(peer, Sending.Settings with { DataBlock = block });
            foreach (SpooledMessage message in mails.Select(data => SpooledMessage.FromMemory(Sending.Envelope("r@b.example"), data)))
                Assert.EndsWith("250 ok", Assert.Single(await Sending.SendAsync(session, message)), StringComparison.Ordinal);
            Assert.Equal(mails, peer.Mail);
        }
    }

    [Fact]
    public async Task A_message_that_cannot_be_read_closes_the_session_without_a_final_dot()
    {
        await using var peer = new ScriptedPeer(
            $"{Hello}S: 250 PIPELINING\n{Envelope}C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n! nothing 50\n! eof");
        using OutboundSession session = await Sending.OpenAsync(peer);
        using SpooledMessage message = await Sending.SpooledAsync(_spool, Sending.Envelope("r@b.example"), LargeData(300_000));
        message.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => Sending.SendAsync(session, message));
        Assert.True(session.IsClosed);
    }

    /// <summary>Lines of many lengths, some beginning with dots.</summary>
    private static byte[] LargeData(int size)
    {
        var random = new Random(4);
        byte[] data = new byte[size];
        for (int at = 0; at < size - 2;)
        {
            int length = Math.Min(random.Next(0, 200), size - 2 - at);
            data.AsSpan(at, length).Fill((byte)(random.Next(3) == 0 ? '.' : 'x'));
            at += length;
            "\r\n"u8.CopyTo(data.AsSpan(at));
            at += 2;
        }
        "\r\n"u8.CopyTo(data.AsSpan(size - 2));
        return data;
    }
}
