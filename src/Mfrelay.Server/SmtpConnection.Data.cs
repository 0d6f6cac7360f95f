using System.Buffers;
using System.Runtime.CompilerServices;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>Mail data: DATA and BDAT into the message, the message into the spool.</summary>
internal sealed partial class SmtpConnection
{
    private MailChunks? _chunks;

    /// <summary>DATA: 354, mail data up to the dot, and the answer to it.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<Step> ReceiveDataAsync(Step step)
    {
        Write(step.Reply);
        long began = _services.Time.GetTimestamp();
        DataSink sink = BeginMessage();
        var decoder = new DotDecoder();
        long received = 0;
        while (true)
        {
            foreach (ReadOnlyMemory<byte> segment in _input)
            {
                int taken = decoder.Decode(segment.Span, sink);
                _input = _input.Slice(taken);
                received += taken;
                if (decoder.IsComplete)
                    break;
            }
            if (decoder.IsComplete)
                break;
            if (!await FillDataAsync(began, received))
                return Lost("mail data");
        }
        Reply? refusal = Refusal(sink, decoder.HasBareNewline && Limits.BareNewline == BareNewline.Reject ? Replies.BareNewline : null);
        return _session.EndOfData(refusal ?? await CommitAsync(sink, began));
    }

    /// <summary>BDAT: exactly the announced octets, whatever the answer will be (RFC 3030 2).</summary>
    private async ValueTask<Step> ReceiveChunkAsync(Step step)
    {
        bool refused = step.Next == Next.RefusedChunk;
        if (!refused && _chunks is null)
            _chunks = new MailChunks(_session.Transaction!, BeginMessage(), _services.Time.GetTimestamp());
        long began = _services.Time.GetTimestamp();
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
            if (left > 0 && !await FillDataAsync(began, step.Octets - left))
                return Lost("chunk");
        }
        if (refused)
            return step with { Next = Next.Command };
        return await AnswerChunkAsync(step);
    }

    private async ValueTask<Step> AnswerChunkAsync(Step step)
    {
        MailChunks chunks = _chunks!;
        if (!step.Last)
        {
            Reply? early = Refusal(chunks.Sink, null);
            _chunks = early is null ? chunks : null;
            return _session.EndOfChunk(early ?? Replies.ChunkOk);
        }
        _chunks = null;
        return _session.EndOfData(Refusal(chunks.Sink, chunks.Complete(Limits.BareNewline)) ?? await CommitAsync(chunks.Sink, chunks.Began));
    }

    private void DropChunks()
    {
        _chunks = null;
        _message.Abandon();
    }

    /// <summary>
    /// Waits for more mail data: as long as it may stand still, and no longer than it may take in all at the least rate, so that nobody
    /// holds a session open with an octet now and then.
    /// </summary>
    private ValueTask<bool> FillDataAsync(long began, long received)
    {
        ServerSettings limits = Limits;
        _onTimeout = Replies.DataTimeout;
        TimeSpan timeout = limits.DataTimeout;
        if (limits.MinDataRate > 0)
        {
            TimeSpan left = timeout + TimeSpan.FromSeconds((double)received / limits.MinDataRate) - _services.Time.GetElapsedTime(began);
            if (left < timeout)
                (timeout, _onTimeout) = (left, Replies.TooSlow);
        }
        return FillAsync(timeout);
    }

    /// <summary>What speaks against the message, worst first; the message is dropped then.</summary>
    private Reply? Refusal(DataSink sink, Reply? content)
    {
        Reply? refusal = sink.Refusal ?? content;
        if (refusal is null)
            return null;
        long size = _message.Length;
        _message.Abandon();
        return Refused(refusal, "data", sink, size);
    }

    private Reply Refused(Reply refusal, string stage, DataSink sink, long size)
    {
        _services.CountRefused(refusal, _session.Peer.Address, inData: true);
        MailTransaction transaction = _session.Transaction!;
        _services.Log.Refused(
            _client, transaction.ReversePath, transaction.Recipients, stage, refusal.ToString(), transaction.Id, sink.MessageId, size);
        return refusal;
    }

    private DataSink BeginMessage()
    {
        MailTransaction transaction = _session.Transaction!;
        transaction.Id = _services.Queue.Ids.Next();
        _message.Begin(transaction.Id);
        Span<byte> trace = stackalloc byte[TraceHeader.MaxLength];
        int length = TraceHeader.Write(trace, _session.HeloName, _session.Peer.Address.ToString(), _services.Admission().Settings.HostName,
            _session.Protocol, transaction.Id, transaction.Recipients, _services.Time.GetLocalNow());
        long limit = Limits.MaxMessageSize + length;
        DataSink sink = transaction.SizeLimit < limit
            ? new(_message, transaction.SizeLimit, Limits, Replies.TooLargeForRoute)
            : new(_message, limit, Limits);
        sink.AppendTrace(trace[..length]);
        return sink;
    }

    /// <summary>250 only when the message is on stable storage.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<Reply> CommitAsync(DataSink sink, long began)
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
        if (size > IncomingMessage.MemoryLimit)
            await Task.Yield(); // its file is synced first: not in the thread of the sockets
        SpoolResult result = await _message.CommitAsync(envelope);
        if (result != SpoolResult.Durable)
            return Refused(ReplyTo(result), "queue", sink, size);
        TimeSpan time = _services.Time.GetElapsedTime(began);
        _services.Figures.AcceptedMessage(envelope, size, time, _services.Admission().Routes);
        _services.Log.Accepted(envelope, new Reception(_connected, _session.Peer.User, sink.MessageId, size, time));
        return Replies.Queued(envelope.Id);
    }

    private Step Lost(string stage)
    {
        _message.Abandon();
        SessionLost(stage, _timedOut ? "timeout" : "end of stream");
        if (!_timedOut)
            return default;
        _services.LimitLog.Reached(_onTimeout.Limit!, _session.Peer.Address);
        return new Step(_onTimeout, Next.Close);
    }
}
