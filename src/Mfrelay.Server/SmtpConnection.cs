using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Runtime.CompilerServices;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// The pump of one session: octets from the pipe to <see cref="SmtpSession"/>, replies back, mail data to the spool. Replies are flushed
/// when the input is empty, so pipelined commands are answered in one packet, and reading stops while replies stay unsent (RFC 2920 3.2).
/// </summary>
internal sealed class SmtpConnection : IDisposable
{
    /// <summary>Octets of replies that may wait while pipelined commands are still being answered.</summary>
    private const int MaxUnsent = 4096;

    private readonly IDuplexPipe _pipe;
    private readonly SmtpServices _services;
    private readonly IPAddress _clientAddress;
    private readonly string _client;
    private readonly SmtpSession _session;
    private readonly IncomingMessage _message;
    private readonly ITimer _timer;
    private Chunks? _chunks;
    private ReadOnlySequence<byte> _input;
    private int _unsent;
    private bool _cannotSend;
    private bool _hasRead;
    private bool _skippingLine;
    private volatile bool _timedOut;
    private volatile bool _stopping;

    public SmtpConnection(IDuplexPipe pipe, IPEndPoint client, SmtpServices services)
    {
        (_pipe, _services) = (pipe, services);
        _clientAddress = client.Address.IsIPv4MappedToIPv6 ? client.Address.MapToIPv4() : client.Address;
        _client = new IPEndPoint(_clientAddress, client.Port).ToString();
        _session = new SmtpSession(services.Admission, _clientAddress);
        _message = services.Queue.Spool.NewMessage();
        _timer = services.Time.CreateTimer(static connection => ((SmtpConnection)connection!).TimeOut(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    private ServerSettings Limits => _services.Admission().Settings.Server;

    public static Reply ReplyTo(SpoolResult result) => result switch
    {
        SpoolResult.Durable => throw new ArgumentException("not a failure", nameof(result)),
        SpoolResult.Full => Replies.NoRoom,
        SpoolResult.Failed => Replies.StorageFailed,
    };

    public async Task RunAsync()
    {
        await TalkAsync();
        if (!await FlushAsync() && _timedOut)
            _services.Log.SessionLost(_client, _session.Transaction?.ReversePath ?? "", "reply", "timeout");
    }

    private async Task TalkAsync()
    {
        Write(_session.Greet().Reply);
        while (await ReadLineAsync() is { } step)
        {
            if (step.Reply.IsRefusal)
                LogRefusal(step.Reply);
            if (_chunks is { } chunks && chunks.Transaction != _session.Transaction)
                DropChunks(); // RSET, EHLO
            step = step.Next switch
            {
                Next.Data => await ReceiveDataAsync(step),
                Next.Chunk or Next.RefusedChunk => await ReceiveChunkAsync(step),
                Next.Command or Next.Close => step,
            };
            if (step.Reply is null)
                return; // the client is gone in the middle of mail data
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

    public void Dispose()
    {
        _timer.Dispose();
        _message.Dispose();
    }

    /// <summary>The answer to the next command line; null at the end of the connection.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<Step?> ReadLineAsync()
    {
        while (true)
        {
            if (_stopping)
                return new Step(Replies.ShuttingDown, Next.Close);
            if (TryTakeLine(out Step? step))
            {
                if (step is not null)
                    return step;
                continue;
            }
            bool more = await FillAsync(Limits.CommandTimeout, command: true);
            if (_timedOut && !_cannotSend)
                return new Step(Replies.Timeout, Next.Close);
            if (_cannotSend)
                return null;
            if (!more && !_stopping)
            {
                if (_session.Transaction is not null || _skippingLine || _input.Length > 0)
                    _services.Log.SessionLost(_client, _session.Transaction?.ReversePath ?? "", "command", "end of stream");
                return null;
            }
        }
    }

    /// <summary>
    /// Takes one line, ended by CRLF alone, off the input. False: more input is needed. A line beyond the limit is thrown away as it comes.
    /// </summary>
    private bool TryTakeLine(out Step? step)
    {
        step = null;
        var reader = new SequenceReader<byte>(_input);
        if (!reader.TryReadTo(out ReadOnlySequence<byte> line, "\r\n"u8))
        {
            if (!_skippingLine && reader.TryPeek(out byte first) && SmtpCommandParser.IsBinary(first))
            {
                step = _session.Command([first]);
                return true;
            }
            if (_input.Length >= SmtpCommandParser.MaxLine)
            {
                // All but a last CR, which may be the first half of the end.
                _skippingLine = true;
                _input = _input.Slice(_input.Length - 1);
            }
            return false;
        }
        _input = _input.Slice(reader.Position);
        if (_skippingLine || line.Length > SmtpCommandParser.MaxLine - 2)
        {
            _skippingLine = false;
            step = _session.LineTooLong();
            return true;
        }
        if (line.IsSingleSegment)
        {
            step = _session.Command(line.FirstSpan);
            return true;
        }
        Span<byte> copy = stackalloc byte[SmtpCommandParser.MaxLine];
        line.CopyTo(copy);
        step = _session.Command(copy[..(int)line.Length]);
        return true;
    }

    /// <summary>DATA: 354, mail data up to the dot, and the answer to it.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<Step> ReceiveDataAsync(Step step)
    {
        Write(step.Reply);
        long began = _services.Time.GetTimestamp();
        DataSink sink = BeginMessage();
        var decoder = new DotDecoder();
        while (true)
        {
            foreach (ReadOnlyMemory<byte> segment in _input)
            {
                int taken = decoder.Decode(segment.Span, sink);
                _input = _input.Slice(taken);
                if (decoder.IsComplete)
                    break;
            }
            if (decoder.IsComplete)
                break;
            if (!await FillAsync(Limits.DataTimeout))
                return Lost("mail data");
        }
        Reply? refusal = Refusal(sink, decoder.HasBareNewline && Limits.BareNewline == BareNewline.Reject ? Replies.BareNewline : null);
        return _session.EndOfData(refusal ?? await CommitAsync(began));
    }

    /// <summary>BDAT: exactly the announced octets, whatever the answer will be (RFC 3030 2).</summary>
    private async ValueTask<Step> ReceiveChunkAsync(Step step)
    {
        bool refused = step.Next == Next.RefusedChunk;
        if (!refused && _chunks is null)
            _chunks = new Chunks(_session.Transaction!, BeginMessage(), _services.Time.GetTimestamp());
        for (long left = step.Octets; left > 0;)
        {
            ReadOnlySequence<byte> here = _input.Slice(0, Math.Min(left, _input.Length));
            foreach (ReadOnlyMemory<byte> segment in here)
            {
                if (!refused)
                    _chunks!.Append(segment.Span);
            }
            left -= here.Length;
            _input = _input.Slice(here.Length);
            if (left > 0 && !await FillAsync(Limits.DataTimeout))
                return Lost("chunk");
        }
        if (refused)
            return step with { Next = Next.Command };
        return await AnswerChunkAsync(step);
    }

    private async ValueTask<Step> AnswerChunkAsync(Step step)
    {
        Chunks chunks = _chunks!;
        if (!step.Last)
        {
            Reply? early = Refusal(chunks.Sink, null);
            _chunks = early is null ? chunks : null;
            return _session.EndOfChunk(early ?? Replies.ChunkOk);
        }
        _chunks = null;
        chunks.Check.End();
        bool reject = Limits.BareNewline == BareNewline.Reject;
        Reply? bad = chunks.Check.HasBareNewline && reject ? Replies.BareNewline
            : !chunks.Check.EndsInNewline ? Replies.NoFinalNewline
            : null;
        return _session.EndOfData(Refusal(chunks.Sink, bad) ?? await CommitAsync(chunks.Began));
    }

    private void DropChunks()
    {
        _chunks = null;
        _message.Abandon();
    }

    private void LogRefusal(Reply reply)
    {
        bool sender = _session.LastVerb == Verb.Mail;
        _services.Log.Refused(_client, sender ? _session.LastAddress : _session.Transaction?.ReversePath ?? "",
            sender ? "" : _session.LastAddress, VerbNames.Of(_session.LastVerb), reply.ToString());
    }

    /// <summary>What speaks against the message, worst first; the message is dropped then.</summary>
    private Reply? Refusal(DataSink sink, Reply? content)
    {
        Reply? refusal = sink.Failure ?? (sink.TooLarge ? Replies.TooLarge : content);
        if (refusal is null)
            return null;
        _message.Abandon();
        return Refused(refusal, "data");
    }

    private Reply Refused(Reply refusal, string stage)
    {
        MailTransaction transaction = _session.Transaction!;
        _services.Log.Refused(_client, transaction.ReversePath, transaction.Recipients[0].ForwardPath, stage, refusal.ToString());
        return refusal;
    }

    private DataSink BeginMessage()
    {
        MailTransaction transaction = _session.Transaction!;
        transaction.Id = _services.Queue.Ids.Next();
        _message.Begin(transaction.Id);
        Span<byte> trace = stackalloc byte[TraceHeader.MaxLength];
        int length = TraceHeader.Write(trace, _session.HeloName, _clientAddress.ToString(), _services.Admission().Settings.HostName,
            _session.Protocol, transaction.Id, transaction.Recipients, _services.Time.GetLocalNow());
        var sink = new DataSink(_message, Math.Min(Limits.MaxMessageSize + length, transaction.SizeLimit));
        sink.Append(trace[..length]);
        return sink;
    }

    /// <summary>250 only when the message is on stable storage.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<Reply> CommitAsync(long began)
    {
        MailTransaction transaction = _session.Transaction!;
        var envelope = new Envelope
        {
            Id = transaction.Id,
            Arrival = _services.Time.GetUtcNow(),
            ReversePath = transaction.ReversePath,
            Recipients = transaction.Recipients,
            Body = transaction.Body,
            SmtpUtf8 = transaction.SmtpUtf8,
            Return = transaction.Return,
            EnvelopeId = transaction.EnvelopeId,
            ClientAddress = _client,
            HeloName = _session.HeloName,
            Protocol = _session.Protocol,
        };
        long size = _message.Length;
        SpoolResult result = await _message.CommitAsync(envelope);
        if (result != SpoolResult.Durable)
            return Refused(ReplyTo(result), "queue");
        _services.Log.Accepted(envelope, size, _services.Time.GetElapsedTime(began));
        return Replies.Queued(envelope.Id);
    }

    private Step Lost(string stage)
    {
        _message.Abandon();
        _services.Log.SessionLost(_client, _session.Transaction?.ReversePath ?? "", stage, _timedOut ? "timeout" : "end of stream");
        return _timedOut ? new Step(Replies.Timeout, Next.Close) : default;
    }

    /// <summary>
    /// Sends what is unsent and waits for more input. False at its end, at the timeout, and when the service stops while it waits for a
    /// command.
    /// </summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<bool> FillAsync(TimeSpan timeout, bool command = false)
    {
        long before = _input.Length;
        while (true)
        {
            if (_hasRead)
                _pipe.Input.AdvanceTo(_input.Start, _input.End);
            _hasRead = true;
            ValueTask<ReadResult> reading = _pipe.Input.ReadAsync();
            ReadResult result;
            if (reading.IsCompleted)
            {
                result = await reading;
            }
            else
            {
                // A reply to a command, even with half of the next one behind it, is sent before the wait (RFC 2920 3.2).
                if (await FlushAsync())
                    _timer.Change(timeout, Timeout.InfiniteTimeSpan);
                else
                    _pipe.Input.CancelPendingRead();
                result = await reading;
                _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            }
            _input = result.Buffer;
            if (_timedOut || _cannotSend)
                return false;
            if (_input.Length > before)
                return true;
            // Stop cancels whatever read is under way; mail data is read on.
            if (!result.IsCanceled || (_stopping && command))
                return false;
        }
    }

    private void TimeOut()
    {
        _timedOut = true;
        _pipe.Output.CancelPendingFlush();
        _pipe.Input.CancelPendingRead();
    }

    private void Write(Reply reply)
    {
        _pipe.Output.Write(reply.Wire);
        _unsent += reply.Wire.Length;
    }

    /// <summary>False when the client is gone, or has not taken its replies for as long as it may take for a command.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<bool> FlushAsync()
    {
        if (_unsent == 0 || _cannotSend)
            return !_cannotSend;
        _unsent = 0;
        ValueTask<FlushResult> flushing = _pipe.Output.FlushAsync();
        if (flushing.IsCompleted)
        {
            _cannotSend = (await flushing).IsCompleted;
            return !_cannotSend;
        }
        _timer.Change(Limits.CommandTimeout, Timeout.InfiniteTimeSpan);
        FlushResult result = await flushing;
        _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _cannotSend = result.IsCompleted || result.IsCanceled;
        return !_cannotSend;
    }

    /// <summary>Mail data that comes in chunks.</summary>
    private sealed class Chunks(MailTransaction transaction, DataSink sink, long began)
    {
        public NewlineCheck Check;
        public MailTransaction Transaction => transaction;
        public DataSink Sink => sink;
        public long Began => began;

        public void Append(ReadOnlySpan<byte> bytes)
        {
            Check.Scan(bytes);
            sink.Append(bytes);
        }
    }
}
