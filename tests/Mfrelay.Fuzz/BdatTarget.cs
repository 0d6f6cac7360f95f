using System.Net;
using Mfrelay.Core;
using Mfrelay.Server;

namespace Mfrelay.Fuzz;

/// <summary>
/// BDAT commands with their chunks, and other commands between them (the first octet chooses where chunks are cut). Oracles: the message is the
/// accepted chunks one after the other; it is refused exactly when it has a bare newline, no line end at its end, or is too large.
/// </summary>
internal static class BdatTarget
{
    private const int Limit = 300;

    private static readonly IncomingMessage Message = Memory.NewMessage();
    private static readonly byte[] Expected = new byte[8192];
    private static readonly Admission Admission = new(
        new Settings { HostName = "relay.example", Server = new ServerSettings { MaxErrors = 10_000 }, MailServers = [new MailServer { Domain = "*", Host = "192.0.2.9" }] },
        health: null);

    public static FuzzTarget Target { get; } = new("bdat", Run, FuzzTarget.Words(
        "BDAT ", " LAST", "\r\n", "BDAT 0 LAST\r\n", "BDAT 5\r\nabc\r\n", "BDAT 4294967301\r\n", "RSET\r\n", "DATA\r\n", "NOOP\r\n", "MAIL FROM:<a@example.org>\r\n",
        "RCPT TO:<b@example.com>\r\n", "EHLO x\r\n", "\n", "\r", "\0", "18446744073709551615", "9223372036854775807"));

    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        var chance = new Chance(input[0]);
        input = input[1..];
        var session = new SmtpSession(static () => Admission, IPAddress.Loopback);
        session.Command("EHLO client.example"u8);
        session.Command("MAIL FROM:<a@example.org>"u8);
        session.Command("RCPT TO:<b@example.com>"u8);
        MailChunks? chunks = null;
        int expected = 0;
        bool full = false;
        while (input.IndexOf("\r\n"u8) is var end and >= 0)
        {
            MailTransaction? before = session.Transaction;
            Step step = session.Command(input[..end]);
            input = input[(end + 2)..];
            CommandTarget.CheckReply(step.Reply);
            if (step.Next == Next.Close)
                return;
            if (session.Transaction != before)
                (chunks, expected, full) = (null, 0, false);
            Oracle.Holds(step.Next != Next.Data || chunks is null, "DATA and BDAT do not mix");
            if (step.Next is not (Next.Chunk or Next.RefusedChunk))
                continue;
            if (step.Octets > input.Length)
                return;
            ReadOnlySpan<byte> chunk = input[..(int)step.Octets];
            input = input[chunk.Length..];
            if (step.Next == Next.RefusedChunk)
                continue;
            if (chunks is null)
            {
                Message.Begin(default);
                chunks = new MailChunks(session.Transaction!, new DataSink(Message, Limit), 0);
            }
            chunk.CopyTo(Expected.AsSpan(expected));
            expected += chunk.Length;
            Append(chunks, chunk, ref chance);
            full |= expected > Limit;
            Oracle.Holds(chunks.Sink.TooLarge == full, "too large is what is larger than the limit");
            Answer(session, step, ref chunks, Expected.AsSpan(0, expected), full);
        }
    }

    private static void Append(MailChunks chunks, ReadOnlySpan<byte> chunk, ref Chance chance)
    {
        while (!chunk.IsEmpty)
        {
            int piece = 1 + chance.Below(chunk.Length);
            chunks.Append(chunk[..piece]);
            chunk = chunk[piece..];
        }
    }

    private static void Answer(SmtpSession session, Step step, ref MailChunks? chunks, ReadOnlySpan<byte> expected, bool full)
    {
        if (!step.Last)
        {
            session.EndOfChunk(chunks!.Sink.Refusal ?? Replies.ChunkOk);
            Oracle.Holds(session.Transaction!.Failed == full, "a refused chunk leaves a transaction that only RSET ends");
            return;
        }
        Reply? refusal = chunks!.Sink.Refusal ?? chunks.Complete(BareNewline.Reject);
        bool sound = !full && !HasBare(expected) && (expected.IsEmpty || expected.EndsWith("\r\n"u8));
        Oracle.Holds(refusal is null == sound, "refused is what has a bare newline, no end, or is too large");
        Oracle.Holds(refusal is not null || Message.Data.SequenceEqual(expected), "the message is its chunks");
        session.EndOfData(refusal ?? Replies.Ok);
        Oracle.Holds(session.Transaction is null, "LAST ends the transaction");
        chunks = null;
    }

    private static bool HasBare(ReadOnlySpan<byte> data)
    {
        for (int i = 0; i < data.Length; i++)
        {
            bool bare = data[i] switch
            {
                0 => true,
                (byte)'\n' => i == 0 || data[i - 1] != '\r',
                (byte)'\r' => i == data.Length - 1 || data[i + 1] != '\n',
                _ => false,
            };
            if (bare)
                return true;
        }
        return false;
    }
}
