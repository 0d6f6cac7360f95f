using System.Buffers;

namespace Mfrelay.Client;

/// <summary>The mail data of a transaction: DATA with dots doubled (RFC 5321 4.1.1.4, 4.5.2) or BDAT with the stored bytes (RFC 3030).</summary>
internal sealed partial class Transaction
{
    /// <summary>Octets of mail data that travel in the send buffer, behind the envelope where the peer allows that.</summary>
    private const int SmallChunk = OutboundSession.SendBufferSize - 1024;

    /// <summary>So many blocks, and others get their turn: the thread that reads, stuffs and sends them serves other sockets too.</summary>
    private const int BlocksPerTurn = 16;

    /// <summary>How long a peer that broke off within mail data gets to be heard: its reason is on the way or never comes.</summary>
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(1);

    private void WriteSmallChunk(ref CommandWriter commands)
    {
        commands.BdatLast(_message.Size);
        for (long offset = 0; offset < _message.Size;)
        {
            ReadOnlySpan<byte> piece = ReadPiece(offset, _session.Scratch).Span;
            commands.Text(piece);
            offset += piece.Length;
        }
    }

    /// <summary>The mail data as one chunk, when it did not go with the envelope. Large data goes from the spool to the socket without a copy of ours.</summary>
    private async ValueTask SendChunkAsync()
    {
        if (_session.OutOfStep)
        {
            BreakAndClose(Outcome.Of(Stage.Bdat, Failure.Garbage));
            return;
        }
        bool small = _message.Size <= SmallChunk;
        Failure failure = await _session.WriteAsync(BeginChunk(small), _session.Settings.DataTimeout);
        if (!small)
        {
            using IMemoryOwner<byte> scratch = MemoryPool<byte>.Shared.Rent(_session.Settings.DataBlock);
            int blocks = 0;
            for (long offset = 0; offset < _message.Size && failure == Failure.None;)
            {
                if (++blocks % BlocksPerTurn == 0)
                    await Task.Yield();
                ReadOnlyMemory<byte> block = ReadPiece(offset, scratch.Memory[.._session.Settings.DataBlock]);
                block = block[..Math.Min(block.Length, _session.Settings.DataBlock)];
                failure = await _session.WriteAsync(block, _session.Settings.DataTimeout);
                offset += block.Length;
            }
        }
        await FinishAsync(failure, Stage.Bdat, Stage.Bdat);
    }

    /// <summary>The command, with all of the mail data when it is small.</summary>
    private ReadOnlyMemory<byte> BeginChunk(bool small)
    {
        var commands = new CommandWriter(_session.SendBuffer);
        if (small)
            WriteSmallChunk(ref commands);
        else
            commands.BdatLast(_message.Size);
        return _session.SendBuffer.AsMemory(0, commands.Written);
    }

    /// <summary>
    /// Mail data after 354: a small message in one write with its final dot, a large one block by block. Behind the dot goes the next envelope, if
    /// there is one.
    /// </summary>
    private async ValueTask SendDataAsync()
    {
        // A 250 that nothing asked for would be taken for the answer to the final dot, and the message lost.
        if (_session.OutOfStep)
        {
            BreakAndClose(Outcome.Of(Stage.Data, Failure.Garbage));
            return;
        }
        // It may have waited for us since the message before: a full disk holds us up after a reply.
        if (IsAhead && _session.HasNews)
        {
            BreakAndClose(Outcome.Of(Stage.Data, Failure.Closed));
            return;
        }
        bool small = _message.Size <= SmallChunk;
        byte[] block = small ? _session.SendBuffer : ArrayPool<byte>.Shared.Rent(_session.Settings.DataBlock);
        byte[] scratch = small ? _session.Scratch : ArrayPool<byte>.Shared.Rent(_session.Settings.DataBlock);
        Failure failure;
        try
        {
            failure = await WriteStuffedAsync(
                block.AsMemory(0, small ? block.Length : _session.Settings.DataBlock),
                scratch.AsMemory(0, small ? scratch.Length : _session.Settings.DataBlock));
        }
        finally
        {
            if (!small)
            {
                ArrayPool<byte>.Shared.Return(block);
                ArrayPool<byte>.Shared.Return(scratch);
            }
        }
        await FinishAsync(failure, Stage.Data, Stage.FinalDot);
    }

    private async ValueTask<Failure> WriteStuffedAsync(Memory<byte> block, Memory<byte> scratch)
    {
        var stuffer = new DotStuffer();
        int filled = 0, blocks = 0;
        for (long offset = 0; offset < _message.Size;)
        {
            if (++blocks % BlocksPerTurn == 0)
                await Task.Yield();
            ReadOnlyMemory<byte> piece = ReadPiece(offset, scratch);
            offset += piece.Length;
            while (true)
            {
                stuffer.Encode(piece.Span, block.Span[filled..], out int consumed, out int written);
                filled += written;
                piece = piece[consumed..];
                if (piece.IsEmpty)
                    break;
                Failure failure = await _session.WriteAsync(block[..filled], _session.Settings.DataTimeout);
                if (failure != Failure.None)
                    return failure;
                filled = 0;
            }
        }
        if (block.Length - filled < DotStuffer.MaxEnd)
        {
            Failure failure = await _session.WriteAsync(block[..filled], _session.Settings.DataTimeout);
            if (failure != Failure.None)
                return failure;
            filled = 0;
        }
        stuffer.End.CopyTo(block.Span[filled..]);
        filled += stuffer.End.Length;
        filled += _session.WriteAhead(block.Span[filled..]);
        return await _session.WriteAsync(block[..filled], _session.Settings.DataTimeout);
    }

    /// <summary>Reads the reply to mail data that is out, or learns why it could not be sent.</summary>
    private async ValueTask FinishAsync(Failure sent, Stage sending, Stage waiting)
    {
        if (sent == Failure.None)
        {
            Answer answer = await _session.ReadReplyAsync(_session.Settings.FinalDotTimeout, keepText: true);
            if (!Broke(waiting, answer))
                EndOfData(waiting, answer);
            else if (_broken.Failure != Failure.None)
                _broken = _broken with { Uncertain = true };
        }
        else
        {
            // With an envelope behind it the final dot may be out all the same.
            bool uncertain = _session.IsAhead;
            Answer answer = sent == Failure.Closed ? await _session.ReadReplyAsync(LastWords, keepText: uncertain) : default;
            if (uncertain && answer.Class == 2)
            {
                EndOfData(waiting, answer);
                _session.Close();
                return;
            }
            Break(answer.Reply is { } reply ? Outcome.Of(sending, reply) : Outcome.Of(sending, sent, uncertain));
        }
        if (!_broken.IsOpen)
            _session.Close();
    }

    /// <summary>The reply to mail data: one for every recipient that was accepted (unlike LMTP).</summary>
    private void EndOfData(Stage stage, Answer answer)
    {
        // After a refused chunk the state of the mail server is not defined until RSET (RFC 3030 2); a final dot always ends the transaction.
        _session.NeedsReset = stage == Stage.Bdat && answer.Class != 2;
        _complete = true;
        if (_rest.IsOpen)
            _rest = Outcome.Of(stage, answer.Reply!);
    }

    /// <summary>
    /// 354 although MAIL or every RCPT was refused: a lone dot, whatever its reply (RFC 2920 3.1). Where the mail server has recipients without a
    /// reverse-path, an empty message might be delivered: no dot then.
    /// </summary>
    private async ValueTask EndWithoutDataAsync()
    {
        Answer answer = default;
        if (_accepted == 0 && !_session.OutOfStep && await _session.WriteAsync(LoneDot, _session.Settings.CommandTimeout) == Failure.None)
            answer = await _session.ReadReplyAsync(_session.Settings.FinalDotTimeout, keepText: false);
        if (answer.Code is 0 or 421)
            _session.Close();
        else
            _session.NeedsReset = false;
    }

    private static readonly ReadOnlyMemory<byte> LoneDot = ".\r\n"u8.ToArray();

    private void BreakAndClose(Outcome outcome)
    {
        Break(outcome);
        _session.Close();
    }

    private ReadOnlyMemory<byte> ReadPiece(long offset, Memory<byte> scratch)
    {
        ReadOnlyMemory<byte> piece = _message.Read(offset, scratch);
        return piece.IsEmpty ? throw new InvalidDataException($"Mail data of {_message.Envelope.Id} ends at {offset} of {_message.Size}") : piece;
    }
}
