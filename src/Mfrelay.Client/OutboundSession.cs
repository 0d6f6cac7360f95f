using System.Buffers;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using MailKit.Net.Smtp;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// One connection to one mail server, after EHLO: takes transactions one after the other until it is closed (RFC 5321 3.3). One caller at a time.
/// Everything a transaction reuses lives here: buffers, deadline, what the mail server can do.
/// </summary>
internal sealed class OutboundSession : IDisposable
{
    /// <summary>The envelope of some hundred recipients, or the whole of a small message.</summary>
    internal const int SendBufferSize = 16 * 1024;

    private const int ScratchSize = 4 * 1024;

    private readonly Wire _wire;
    private readonly ReplyReader _replies = new();
    private readonly CancellationTokenSource _waiting = new();
    private readonly Deadline _deadline;
    private CancellationToken _caller;

    /// <summary>Replies to its envelope are due.</summary>
    private Transaction? _ahead;

    public OutboundSession(Wire wire, SmtpCapabilities capabilities, long maxSize, SessionSettings settings)
    {
        (_wire, Capabilities, MaxSize, Settings) = (wire, capabilities, maxSize, settings);
        (RemoteAddress, TlsVersion) = (wire.RemoteEndPoint?.ToString() ?? "", wire.TlsVersion);
        _deadline = new Deadline(TimeProvider.System, StopWaiting);
    }

    public SmtpCapabilities Capabilities { get; }

    /// <summary>The SIZE that the mail server announced, in octets; 0: none or no limit (RFC 1870 4).</summary>
    public long MaxSize { get; }

    public SessionSettings Settings { get; }

    /// <summary>Transactions begun, so that a caller can end a session after so many.</summary>
    public int Transactions { get; private set; }

    public bool IsClosed { get; private set; }

    /// <summary>
    /// Asked when the final dot of a message is about to go out where the mail server has PIPELINING: what comes after it on this session, so that
    /// its envelope can go out with it. Whoever answers must give that to <see cref="SendAsync"/> next.
    /// </summary>
    public Func<Transaction?>? Next { get; set; }

    /// <summary>"192.0.2.1:25", the address that answered.</summary>
    public string RemoteAddress { get; }

    /// <summary>"TLSv1.3"; empty in the clear.</summary>
    public string TlsVersion { get; }

    internal byte[] SendBuffer { get; private set; } = ArrayPool<byte>.Shared.Rent(SendBufferSize);

    /// <summary>What <see cref="SpooledMessage.Read"/> wants and does not use for a small message.</summary>
    internal byte[] Scratch { get; private set; } = ArrayPool<byte>.Shared.Rent(ScratchSize);

    /// <summary>The last transaction did not run to its end, so RSET must come before the next MAIL.</summary>
    internal bool NeedsReset { get; set; }

    /// <summary>The mail server has said something to which no command is open.</summary>
    internal bool OutOfStep => _replies.Buffered > 0;

    /// <summary>
    /// Whether a transaction can be tried on an idle session: no closed connection and no 421 waits on it. Costs a system call, no round trip.
    /// </summary>
    public bool IsUsable() => !IsClosed && !IsAhead && !OutOfStep && !HasNews;

    /// <summary>The next envelope is on its way already, or was meant to be.</summary>
    internal bool IsAhead => _ahead is not null;

    /// <summary>Something waits to be read, or the mail server has closed.</summary>
    internal bool HasNews => _wire.HasNews;

    internal bool Has(SmtpCapabilities capability) => Capabilities.HasFlag(capability);

    /// <summary>
    /// Sends one message to some of its recipients: one transaction, a value for every ending. After it, the session is usable or closed.
    /// Throws only when the message cannot be read; the session is closed then.
    /// </summary>
    public async ValueTask<TransactionResult> SendAsync(Transaction transaction, CancellationToken cancellation)
    {
        Transactions++;
        _ahead = null;
        _caller = cancellation;
        CancellationTokenRegistration registration =
            cancellation.UnsafeRegister(static session => ((OutboundSession)session!).StopWaiting(), this);
        bool finished = false;
        try
        {
            await transaction.RunAsync();
            finished = true;
        }
        finally
        {
            await registration.DisposeAsync();
            _caller = CancellationToken.None;
            // What has once been cancelled stays so; a peer that talks out of turn cannot be trusted to pair replies with commands.
            _deadline.Lift();
            if (!finished || IsClosed || (OutOfStep && _ahead is null) || _deadline.HasRung || _waiting.IsCancellationRequested)
                Close();
        }
        return new TransactionResult(transaction.Outcomes, !IsClosed);
    }

    /// <summary>Says QUIT, waits a short while for the answer, and closes. Never throws for what the peer does.</summary>
    public async ValueTask QuitAsync(CancellationToken cancellation)
    {
        if (IsUsable())
        {
            _caller = cancellation;
            using CancellationTokenRegistration registration =
                cancellation.UnsafeRegister(static session => ((OutboundSession)session!).StopWaiting(), this);
            if (await WriteAsync("QUIT\r\n"u8.ToArray(), Settings.QuitTimeout) == Failure.None)
                await ReadReplyAsync(Settings.QuitTimeout, keepText: false);
        }
        Dispose();
    }

    public void Dispose()
    {
        Close();
        _deadline.Dispose();
        _waiting.Dispose();
        _replies.Dispose();
        (byte[] buffer, byte[] scratch) = (SendBuffer, Scratch);
        SendBuffer = Scratch = [];
        if (buffer.Length == 0)
            return;
        ArrayPool<byte>.Shared.Return(buffer);
        ArrayPool<byte>.Shared.Return(scratch);
    }

    /// <summary>Writes the envelope of the next message, when there is one and it fits.</summary>
    internal int WriteAhead(Span<byte> room)
    {
        if (!Has(SmtpCapabilities.Pipelining) || Next?.Invoke() is not { } next)
            return 0;
        int octets = next.WriteAhead(room);
        _ahead = octets > 0 ? next : null;
        return octets;
    }

    /// <summary>Ends the connection now, without QUIT. What is still being written or read fails.</summary>
    internal void Close()
    {
        if (IsClosed)
            return;
        IsClosed = true;
        _wire.Dispose();
    }

    /// <summary>Sends bytes; None when the kernel has taken all of them.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    internal async ValueTask<Failure> WriteAsync(ReadOnlyMemory<byte> bytes, TimeSpan timeout)
    {
        try
        {
            _deadline.Set(timeout);
            await _wire.WriteAsync(bytes, _waiting.Token);
            return Failure.None;
        }
        catch (Exception e) when (IsBroken(e))
        {
            return FailureOf(e);
        }
    }

    /// <summary>Reads the next reply.</summary>
    /// <param name="timeout">For the whole reply: octets that trickle in do not prolong it.</param>
    /// <param name="keepText">Decode a good reply too; a refusal always is.</param>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    internal async ValueTask<Answer> ReadReplyAsync(TimeSpan timeout, bool keepText)
    {
        bool armed = false;
        while (true)
        {
            switch (_replies.TryTake(out ReadOnlySpan<byte> raw))
            {
                case ReplyParse.Complete:
                    int code = ReplyReader.CodeOf(raw);
                    return new Answer(code, keepText || code >= 400 ? Reply.Decode(raw) : null, Failure.None);
                case ReplyParse.Garbage:
                    return new Answer(0, null, Failure.Garbage);
                case ReplyParse.TooLong:
                    return new Answer(0, null, Failure.ReplyTooLong);
                case ReplyParse.NeedMore:
                    break;
            }
            Memory<byte> room = _replies.Free;
            try
            {
                if (!armed)
                    _deadline.Set(timeout);
                armed = true;
                int count = await _wire.ReadAsync(room, _waiting.Token);
                if (count == 0)
                    return new Answer(0, null, Failure.Closed);
                _replies.Received(count);
            }
            catch (Exception e) when (IsBroken(e))
            {
                return new Answer(0, null, FailureOf(e));
            }
        }
    }

    private static bool IsBroken(Exception e) => e is SocketException or IOException or OperationCanceledException or ObjectDisposedException;

    private Failure FailureOf(Exception e) =>
        e is not OperationCanceledException ? Failure.Closed
        : _caller.IsCancellationRequested ? Failure.Cancelled
        : Failure.TimedOut;

    private void StopWaiting()
    {
        try
        {
            _waiting.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The deadline passed while the session was closed.
        }
    }
}

/// <summary>A reply, or why there is none.</summary>
/// <param name="Code">0 when there is none.</param>
/// <param name="Reply">Decoded when it was asked for, and for every 4yz and 5yz.</param>
internal readonly record struct Answer(int Code, Reply? Reply, Failure Failure)
{
    public int Class => Code / 100;
}
