using System.Text;

namespace Mfrelay.Client;

/// <summary>
/// What MailKit reads greeting, EHLO reply and AUTH dialog through. It keeps what MailKit lets out of hand: a limit on the octets of a reply and
/// a timeout for each; and it keeps the last reply, so that a failure is judged by what was on the wire. Closing it leaves the connection open.
/// <para>
/// After STARTTLS there is no greeting (RFC 3207 4.2), and MailKit begins with one: it is given <see cref="NoGreeting"/> to read then.
/// </para>
/// </summary>
internal sealed class OpeningStream : Stream
{
    private readonly Wire _wire;
    private readonly SessionSettings _settings;
    private readonly CancellationTokenSource _deadline;
    private readonly ReplyReader _replies = new();
    private bool _noGreeting;

    private static ReadOnlySpan<byte> NoGreeting => "220 -\r\n"u8;

    /// <param name="greeted">The greeting came before TLS.</param>
    public OpeningStream(Wire wire, SessionSettings settings, bool greeted, CancellationToken cancellation)
    {
        _noGreeting = greeted;
        _wire = wire;
        _settings = settings;
        _deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        _deadline.CancelAfter(settings.GreetingTimeout);
    }

    /// <summary>Greeting until something was written.</summary>
    public Stage Stage { get; private set; } = Stage.Greeting;

    /// <summary>The stage of what is written from now on.</summary>
    public Stage Next { get; set; } = Stage.Ehlo;

    /// <summary>The last whole reply; null while the one to the last command is due.</summary>
    public Reply? LastReply { get; private set; }

    /// <summary>Why the dialog cannot go on; None while it can.</summary>
    public Failure Failure { get; private set; }

    /// <summary>Octets behind the last reply, which nothing asked for.</summary>
    public bool OutOfStep => _replies.Buffered > 0;

    public override bool CanRead => true;
    public override bool CanWrite => true;
    public override bool CanSeek => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_noGreeting)
        {
            _noGreeting = false;
            NoGreeting.CopyTo(buffer.Span);
            return NoGreeting.Length;
        }
        Memory<byte> room = _replies.Free;
        int count;
        try
        {
            count = await _wire.ReadAsync(room[..Math.Min(room.Length, buffer.Length)], _deadline.Token);
        }
        catch (OperationCanceledException)
        {
            Failure = Failure.TimedOut;
            throw;
        }
        if (count == 0)
            Failure = Failure.Closed;
        room[..count].CopyTo(buffer);
        _replies.Received(count);
        Follow();
        return count;
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        // MailKit follows any refused EHLO with HELO. Only a server that does not know EHLO (5yz) wants that; 4yz says "later", 421 "gone".
        if (Stage == Stage.Ehlo && LastReply?.Class == 4)
            throw new IOException("EHLO refused for now");
        // MailKit would take what follows the greeting for the reply to EHLO.
        if (OutOfStep)
        {
            Failure = Failure.Garbage;
            throw new IOException("A reply to nothing");
        }
        Stage = Next;
        LastReply = null;
        _deadline.CancelAfter(_settings.CommandTimeout);
        try
        {
            await _wire.WriteAsync(buffer, _deadline.Token);
        }
        catch (OperationCanceledException)
        {
            Failure = Failure.TimedOut;
            throw;
        }
    }

    /// <summary>Says a command of our own and reads the reply to it.</summary>
    public async Task<Reply> AskAsync(string command, CancellationToken cancellation)
    {
        await WriteAsync(Encoding.ASCII.GetBytes(command + "\r\n"), cancellation);
        byte[] unused = new byte[4096];
        while (LastReply is null)
        {
            if (await ReadAsync(unused, cancellation) == 0)
                throw new IOException("closed");
        }
        return LastReply;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override void Flush() { }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _replies.Dispose();
            _deadline.Dispose();
        }
        base.Dispose(disposing);
    }

    /// <summary>Takes the reply from what has come. A broken one ends the dialog here, before MailKit has its own thoughts on it.</summary>
    private void Follow()
    {
        if (LastReply is not null)
            return;
        switch (_replies.TryTake(out ReadOnlySpan<byte> raw))
        {
            case ReplyParse.Complete:
                LastReply = Reply.Decode(raw);
                break;
            case ReplyParse.Garbage:
                Failure = Failure.Garbage;
                throw new IOException("Not an SMTP reply");
            case ReplyParse.TooLong:
                Failure = Failure.ReplyTooLong;
                throw new IOException("Reply too long");
            case ReplyParse.NeedMore:
                break;
        }
    }
}
