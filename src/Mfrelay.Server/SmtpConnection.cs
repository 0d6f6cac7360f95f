using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Runtime.CompilerServices;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// The pump of one session: octets from the pipe to <see cref="SmtpSession"/>, replies back, mail data to the spool. Replies are flushed
/// when the input is empty, so pipelined commands are answered in one packet, and reading stops while replies stay unsent (RFC 2920 3.2).
/// Partial class: SmtpConnection.Data.cs has mail data, SmtpConnection.Security.cs what comes before the dialog, TLS and AUTH.
/// </summary>
internal sealed partial class SmtpConnection : IDisposable
{
    /// <summary>Octets of replies that may wait while pipelined commands are still being answered.</summary>
    private const int MaxUnsent = 4096;

    /// <summary>
    /// So many reads that found something there already, and others get their turn: sessions share few threads, and one whose client never stops sending
    /// would keep its thread for itself.
    /// </summary>
    private const int MostUnwaited = 16;

    private readonly SmtpServices _services;
    private volatile IDuplexPipe _pipe;
    private string _client;
    private readonly SmtpSession _session;
    private readonly IncomingMessage _message;
    private readonly Deadline _deadline;
    private readonly DateTimeOffset _connected;
    private ReadOnlySequence<byte> _input;

    /// <summary>Octets of it before the read that is under way.</summary>
    private long _kept;
    private int _unsent;
    private bool _cannotSend;
    private volatile bool _isFlushing;
    private bool _hasRead;
    private int _unwaited;
    private bool _skippingLine;
    private Reply _onTimeout = Replies.Timeout;
    private volatile bool _timedOut;
    private volatile bool _stopping;

    /// <param name="listener">The address it came to, as configured; null for one of server.listen.</param>
    public SmtpConnection(IDuplexPipe pipe, IPEndPoint client, SmtpServices services, IPEndPoint? listener = null)
    {
        _pipe = pipe;
        _services = services;
        IPAddress address = HostName.Plain(client.Address);
        _client = new IPEndPoint(address, client.Port).ToString();
        _session = new SmtpSession(services.Admission, new SessionPeer(address, listener));
        _session.HasRoom = HasRoom;
        _connected = services.Time.GetUtcNow();
        _message = services.Queue.Spool.NewMessage();
        _deadline = new Deadline(services.Time, TimeOut);
    }

    /// <summary>The client is gone, or has not taken its replies in time.</summary>
    public bool IsDeaf => _cannotSend;

    private ListenerPolicy Policy => _services.Admission().PolicyOf(_session.Peer.Listener);
    private ServerSettings Limits => _services.Admission().Settings.Server;

    public static Reply ReplyTo(SpoolResult result) => result switch
    {
        SpoolResult.Durable => throw new ArgumentException("not a failure", nameof(result)),
        SpoolResult.Full => Replies.NoRoom,
        SpoolResult.Failed => Replies.StorageFailed,
    };

    public async Task RunAsync()
    {
        ListenerPolicy policy = Policy;
        if (policy.ProxyProtocol && !await TakeProxyHeaderAsync())
            return;
        if (await EnterAsync(policy) && (policy.Tls != ListenerTls.Implicit || await BeginTlsAsync()))
            await TalkAsync();
        _message.Abandon(); // of chunks without a last one
        if (!await FlushAsync() && _timedOut)
            SessionLost("reply", "timeout");
        if (_tls is not null)
            await EndTlsAsync();
    }

    /// <summary>One command after the other. Waits for a line in this very method: that happens for every command of nearly every client.</summary>
    private async Task TalkAsync()
    {
        Write(_session.Greet().Reply);
        for (long began = 0; ;)
        {
            if (!TryTakeStep(out Step step))
            {
                ReadResult read = await ReadAsync(TimeForLine(ref began));
                bool more = Take(read) || read.IsCanceled;
                bool isLate = _timedOut; // once: it may change at any moment
                if (!isLate && !HasEnded(more))
                    continue;
                if (!isLate || _cannotSend)
                    return;
                step = new Step(_onTimeout, Next.Close);
            }
            began = 0;
            if (step.Reply.IsRefusal && step.Next != Next.Authenticate)
                LogRefusal(step.Reply);
            if (_chunks is { } chunks && chunks.Transaction != _session.Transaction)
                DropChunks(); // RSET, EHLO
            step = step.Next switch
            {
                Next.Data => await ReceiveDataAsync(step),
                Next.Chunk or Next.RefusedChunk => await ReceiveChunkAsync(step),
                Next.StartTls => await StartTlsAsync(step),
                Next.Authenticate => await AuthenticateAsync(),
                Next.ClientChanged => await ChangeClientAsync(step),
                Next.Command or Next.Close => step,
            };
            if (step.Reply is null)
            {
                if (step.Next == Next.StartTls)
                    continue;
                return; // the client is gone in the middle of mail data, or of a handshake
            }
            if (step.Slow)
                await PauseAsync(Limits.ErrorDelay);
            Write(step.Reply);
            if (step.Next == Next.Close || (_unsent > MaxUnsent && !await FlushAsync()))
                return;
        }
    }

    /// <summary>Running transactions finish; the next command hears 421.</summary>
    public void Stop()
    {
        _stopping = true;
        _pipe.Input.CancelPendingRead();
    }

    /// <summary>After a bug: a last word, unless it would be plaintext inside TLS or has to wait.</summary>
    public void TryAbort()
    {
        if (_tls is null && !_cannotSend)
            _ = _pipe.Output.WriteAsync(Replies.StorageFailed.Wire).AsTask();
    }

    public void Dispose()
    {
        _record?.Leave();
        _deadline.Dispose();
        _message.Dispose();
    }

    /// <summary>The answer to the command line that has come; false when there is none.</summary>
    private bool TryTakeStep(out Step step)
    {
        if (_stopping)
        {
            step = new Step(Replies.ShuttingDown, Next.Close);
            return true;
        }
        return TryTakeLine(out step);
    }

    /// <summary>How long the rest of a command may take: the time is for all of it, an octet now and then does not make it longer.</summary>
    /// <param name="began">When the wait for it began; 0: now.</param>
    private TimeSpan TimeForLine(ref long began)
    {
        TimeSpan timeout = _session.CommandTimeout;
        _onTimeout = timeout == Limits.CommandTimeout ? Replies.Timeout : Replies.UnauthenticatedTimeout;
        if (began != 0)
            return timeout - _services.Time.GetElapsedTime(began);
        began = _services.Time.GetTimestamp();
        return timeout;
    }

    /// <summary>After waiting for a command: there is none to come.</summary>
    private bool HasEnded(bool more)
    {
        if (_cannotSend)
            return true;
        if (more || _stopping)
            return false;
        if (_session.Transaction is not null || _skippingLine || _input.Length > 0)
            SessionLost("command", "end of stream");
        return true;
    }

    /// <summary>
    /// Takes one line, ended by CRLF alone, off the input. False: more input is needed. A line beyond the limit is thrown away as it comes.
    /// </summary>
    private bool TryTakeLine(out Step step)
    {
        ReadOnlySpan<byte> first = _input.FirstSpan;
        // The first octet decides, whether the rest has come or not, and however long it is.
        if (!_skippingLine && !_session.IsInExchange && first.Length > 0 && SmtpCommandParser.IsBinary(first[0]))
        {
            step = _session.Command(first[..1]);
            return true;
        }
        int length = first.IndexOf("\r\n"u8);
        if (length >= 0)
        {
            _input = _input.Slice(length + 2);
            step = Command(first[..length]);
            return true;
        }
        var reader = new SequenceReader<byte>(_input);
        if (_input.IsSingleSegment || !reader.TryReadTo(out ReadOnlySequence<byte> line, "\r\n"u8))
        {
            if (_input.Length >= Limits.MaxCommandLine && _input.Length >= LongestLine(first))
            {
                // All but a last CR, which may be the first half of the end.
                _skippingLine = true;
                _input = _input.Slice(_input.Length - 1);
            }
            step = default;
            return false;
        }
        Span<byte> copy = stackalloc byte[SmtpCommandParser.MaxLine];
        length = (int)Math.Min(line.Length, copy.Length);
        line.Slice(0, length).CopyTo(copy);
        _skippingLine |= length < line.Length;
        _input = _input.Slice(reader.Position);
        step = Command(copy[..length]);
        return true;
    }

    /// <summary>The answer to a line; the end of one that is thrown away has come, too.</summary>
    private Step Command(ReadOnlySpan<byte> line)
    {
        bool tooLong = _skippingLine || (line.Length > Limits.MaxCommandLine - 2 && line.Length > LongestLine(line) - 2);
        _skippingLine = false;
        return tooLong ? _session.LineTooLong() : _session.Command(line);
    }

    private long LongestLine(ReadOnlySpan<byte> line) => _session.TakesLongLine(line) ? SmtpCommandParser.MaxLine : Limits.MaxCommandLine;

    private async Task PauseAsync(TimeSpan delay)
    {
        if (delay > TimeSpan.Zero && await FlushAsync())
            await Task.Delay(delay, _services.Time);
    }

    private void LogRefusal(Reply reply)
    {
        _services.CountRefused(reply, _session.Peer.Address);
        // One line per minute for what may come in floods; a message that is too large is looked for by its sender.
        if (reply.Limit is not null && reply != Replies.TooLarge)
            return;
        bool sender = _session.LastVerb == Verb.Mail;
        _services.Log.Refused(_client, sender ? _session.LastAddress : _session.Transaction?.ReversePath ?? "",
            sender || _session.LastAddress.Length == 0 ? [] : [new Recipient(_session.LastAddress)], VerbNames.Of(_session.LastVerb), reply.ToString());
    }

    private void SessionLost(string stage, string reason) => _services.Log.SessionLost(
        _client, _session.Transaction?.ReversePath ?? "", _session.Transaction?.Recipients ?? [], stage, reason);

    /// <summary>
    /// Sends what is unsent and waits for more input. False at its end, at the timeout, and when the service stops while it waits for a
    /// command.
    /// </summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<bool> FillAsync(TimeSpan timeout, bool command = false)
    {
        while (true)
        {
            ReadResult read = await ReadAsync(timeout);
            bool more = Take(read);
            if (_timedOut || _cannotSend)
                return false;
            // Stop cancels whatever read is under way; mail data is read on.
            if (more || !read.IsCanceled || (_stopping && command))
                return more;
        }
    }

    /// <summary>What <see cref="FillAsync"/> waits for; <see cref="Take"/> must follow.</summary>
    private ValueTask<ReadResult> ReadAsync(TimeSpan timeout)
    {
        _kept = _input.Length;
        if (_hasRead)
            _pipe.Input.AdvanceTo(_input.Start, _input.End);
        _hasRead = true;
        ValueTask<ReadResult> reading = _pipe.Input.ReadAsync();
        if (reading.IsCompleted)
            return ++_unwaited % MostUnwaited == 0 ? YieldAsync(reading) : reading;
        // A reply to a command, even with half of the next one behind it, is sent before the wait (RFC 2920 3.2).
        ValueTask<bool> flushing = FlushAsync();
        if (!flushing.IsCompletedSuccessfully)
            return FlushFirstAsync(flushing, reading, timeout);
        LimitWait(timeout);
        return reading;
    }

    private static async ValueTask<ReadResult> YieldAsync(ValueTask<ReadResult> reading)
    {
        await Task.Yield();
        return await reading;
    }

    private async ValueTask<ReadResult> FlushFirstAsync(ValueTask<bool> flushing, ValueTask<ReadResult> reading, TimeSpan timeout)
    {
        await flushing;
        LimitWait(timeout);
        return await reading;
    }

    private void LimitWait(TimeSpan timeout)
    {
        if (_cannotSend)
            _pipe.Input.CancelPendingRead();
        else
            _deadline.Set(timeout);
    }

    /// <summary>Whether there is more than before.</summary>
    private bool Take(ReadResult read)
    {
        _deadline.Lift();
        _input = read.Buffer;
        return _input.Length > _kept;
    }

    private void TimeOut()
    {
        _timedOut = true;
        // A flush that is not under way must be left alone: inside TLS the next one would be cancelled halfway, with the 421 in it.
        if (_isFlushing)
            _pipe.Output.CancelPendingFlush();
        else
            _pipe.Input.CancelPendingRead();
    }

    private void Write(Reply reply)
    {
        _pipe.Output.Write(reply.Wire);
        _unsent += reply.Wire.Length;
    }

    /// <summary>False when the client is gone, or has not taken its replies for as long as it may take for a command.</summary>
    private ValueTask<bool> FlushAsync()
    {
        if (_unsent == 0 || _cannotSend)
            return ValueTask.FromResult(!_cannotSend);
        _unsent = 0;
        ValueTask<FlushResult> flushing = _pipe.Output.FlushAsync();
        if (!flushing.IsCompletedSuccessfully)
            return WaitForFlushAsync(flushing);
#pragma warning disable VSTHRD103 // it is there
        _cannotSend = flushing.Result.IsCompleted;
#pragma warning restore VSTHRD103
        return ValueTask.FromResult(!_cannotSend);
    }

    private async ValueTask<bool> WaitForFlushAsync(ValueTask<FlushResult> flushing)
    {
        _isFlushing = true;
        _deadline.Set(Limits.CommandTimeout);
        FlushResult result = await flushing;
        _deadline.Lift();
        _isFlushing = false;
        _cannotSend = result.IsCompleted || result.IsCanceled;
        return !_cannotSend;
    }
}
