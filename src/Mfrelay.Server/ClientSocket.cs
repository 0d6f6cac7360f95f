using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Connections;

namespace Mfrelay.Server;

/// <summary>
/// A client's connection as a session sees it: read when the session reads, sent when it flushes. Nothing runs in between, so what a client may send
/// ahead waits in the kernel, within the socket's own limits.
/// </summary>
internal sealed class ClientSocket : DefaultConnectionContext, IDuplexPipe
{
    private readonly Socket _socket;
    private readonly SocketInput _input;

    public ClientSocket(Socket socket, ReceiveBuffers buffers)
    {
        _socket = socket;
        _input = new SocketInput(socket, buffers);
        Output = new SocketOutput(socket);
        Transport = this;
        socket.NoDelay = true;
        // What is received without waiting must not: the runtime would queue it behind a read that was cancelled, for the thread that may be this one.
        socket.Blocking = false;
        RemoteEndPoint = socket.RemoteEndPoint;
        LocalEndPoint = socket.LocalEndPoint;
    }

    public PipeReader Input => _input;
    public PipeWriter Output { get; }

    /// <summary>For a client that takes nothing: the kernel forgets what it was to be sent.</summary>
    public override void Abort(ConnectionAbortedException abortReason)
    {
        try
        {
            _socket.LingerState = new LingerOption(enable: true, seconds: 0);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It is gone already.
        }
        _socket.Dispose();
    }

    public override ValueTask DisposeAsync()
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Send);
            // Octets that nobody has read would make the kernel reset the connection, and the client lose our last reply.
            _input.Drop();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It is gone already.
        }
        _socket.Dispose();
        _input.Close();
        return base.DisposeAsync();
    }
}

/// <summary>What comes from a socket, in one piece: whoever reads leaves at most a line of it.</summary>
internal sealed class SocketInput(Socket socket, ReceiveBuffers buffers) : PipeReader
{
    /// <summary>Octets that are dropped at the end: as many as the kernel may hold for us by default.</summary>
    private const int MostDropped = 128 * 1024;

    /// <summary>Less room than this is not worth a system call.</summary>
    private const int LeastRoom = 512;

    private byte[] _block = [];
    private int _start;
    private int _end;
    private int _examined;
    private bool _isReceiving;
    private bool _hasEnded;
    private readonly CancelOnce _cancel = new();

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (_cancel.TryTake())
            return new ValueTask<ReadResult>(Result(isCanceled: true));
        if (_examined < _end || _hasEnded)
            return new ValueTask<ReadResult>(Result());
        return ReceiveAsync(cancellationToken);
    }

    /// <summary>Also what has come and was not received yet.</summary>
    public override bool TryRead(out ReadResult result)
    {
        bool isCanceled = _cancel.TryTake();
        if (!isCanceled && _examined == _end && !_hasEnded && socket.Available > 0)
        {
            MakeRoom();
            _end += socket.Receive(_block.AsSpan(_end), SocketFlags.None, out _); // what is wrong with it, the next read says
        }
        result = Result(isCanceled);
        return isCanceled || _examined < _end || _hasEnded;
    }

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        (_start, _examined) = (consumed.GetInteger(), Math.Max(consumed.GetInteger(), examined.GetInteger()));
        if (_start == _end)
            _start = _end = _examined = 0;
    }

    public override void CancelPendingRead() => _cancel.Cancel();

    public override void Complete(Exception? exception = null) => Close();

    /// <summary>Gives its buffer back.</summary>
    public void Close()
    {
        if (_isReceiving || _block.Length == 0)
            return;
        buffers.Return(_block);
        (_block, _start, _end, _examined, _hasEnded) = ([], 0, 0, 0, true);
    }

    /// <summary>Receives what is there already, and forgets it.</summary>
    public void Drop()
    {
        for (int dropped = 0, n; !_isReceiving && dropped < MostDropped && socket.Available > 0; dropped += n)
        {
            _start = _end = _examined = 0;
            MakeRoom();
            n = socket.Receive(_block);
            if (n == 0)
                return;
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<ReadResult> ReceiveAsync(CancellationToken cancellationToken)
    {
        MakeRoom();
        CancellationTokenRegistration canceling = _cancel.By(cancellationToken);
        _isReceiving = true;
        try
        {
            int n = await socket.ReceiveAsync(_block.AsMemory(_end), SocketFlags.None, _cancel.Token);
            _end += n;
            _hasEnded = n == 0;
            await _cancel.ForgetLateAsync(canceling, cancellationToken);
            return Result();
        }
        catch (OperationCanceledException)
        {
            _cancel.TryTake();
            cancellationToken.ThrowIfCancellationRequested();
            return Result(isCanceled: true);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw new ConnectionResetException(e.Message, e);
        }
        finally
        {
            _isReceiving = false;
            await canceling.DisposeAsync();
        }
    }

    private ReadResult Result(bool isCanceled = false) => new(new ReadOnlySequence<byte>(_block, _start, _end - _start), isCanceled, _hasEnded);

    private void MakeRoom()
    {
        if (_block.Length - _end >= LeastRoom)
            return;
        byte[] old = _block;
        int length = _end - _start;
        if (old.Length - length < LeastRoom)
            _block = length == 0 ? buffers.Rent() : new byte[ReceiveBuffers.Large + (2 * length)]; // none of the pool's
        old.AsSpan(_start, length).CopyTo(_block);
        (_start, _end, _examined) = (0, length, _examined - _start);
        if (old != _block && old.Length > 0)
            buffers.Return(old);
    }
}

/// <summary>What goes to a socket; it has a buffer only while there is something to send.</summary>
internal sealed class SocketOutput(Socket socket) : PipeWriter
{
    private const int Least = 512;

    private byte[] _buffer = [];
    private int _length;
    private readonly CancelOnce _cancel = new();

    public override Memory<byte> GetMemory(int sizeHint = 0)
    {
        if (_buffer.Length - _length < Math.Max(sizeHint, 1))
            Grow(sizeHint);
        return _buffer.AsMemory(_length);
    }

    public override Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    public override void Advance(int bytes) => _length += bytes;

    public override void CancelPendingFlush() => _cancel.Cancel();

    public override void Complete(Exception? exception = null)
    {
        // What was not flushed is not sent.
    }

    /// <summary>Done when the kernel has taken all of it. Completed: nobody is there to take more.</summary>
    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) =>
        _length == 0 ? default : SendAsync(cancellationToken);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<FlushResult> SendAsync(CancellationToken cancellationToken)
    {
        CancellationTokenRegistration canceling = _cancel.By(cancellationToken);
        try
        {
            for (int sent = 0; sent < _length;)
                sent += await socket.SendAsync(_buffer.AsMemory(sent, _length - sent), SocketFlags.None, _cancel.Token);
            await _cancel.ForgetLateAsync(canceling, cancellationToken);
            return default;
        }
        catch (OperationCanceledException)
        {
            _cancel.TryTake();
            cancellationToken.ThrowIfCancellationRequested();
            return new FlushResult(isCanceled: true, isCompleted: false);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return new FlushResult(isCanceled: false, isCompleted: true);
        }
        finally
        {
            Empty();
            await canceling.DisposeAsync();
        }
    }

    private void Empty()
    {
        ArrayPool<byte>.Shared.Return(_buffer);
        (_buffer, _length) = ([], 0);
    }

    private void Grow(int more)
    {
        byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(Least, Math.Max(_length * 2, _length + more)));
        _buffer.AsSpan(0, _length).CopyTo(larger);
        if (_buffer.Length > 0)
            ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = larger;
    }
}

/// <summary>Cancels one operation: the one that waits, or else the next.</summary>
#pragma warning disable CA1001 // a source without a timer holds nothing that must be released
internal sealed class CancelOnce
#pragma warning restore CA1001
{
    private volatile CancellationTokenSource _source = new();

    public CancellationToken Token => _source.Token;

    public void Cancel() => _source.Cancel();

    /// <summary>A token that cancels it too, for one operation.</summary>
    public CancellationTokenRegistration By(CancellationToken token) => token.UnsafeRegister(static cancel => ((CancelOnce)cancel!).Cancel(), this);

    /// <summary>A token that came too late for an operation is not meant for the next one.</summary>
    public async ValueTask ForgetLateAsync(CancellationTokenRegistration canceling, CancellationToken token)
    {
        await canceling.DisposeAsync();
        if (token.IsCancellationRequested)
            TryTake();
    }

    /// <summary>Whether it was asked for; it is not any more.</summary>
    public bool TryTake()
    {
        if (!_source.IsCancellationRequested)
            return false;
        _source = new CancellationTokenSource();
        return true;
    }
}
