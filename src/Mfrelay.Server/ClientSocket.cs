using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;
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
        _input.Dispose();
        return base.DisposeAsync();
    }
}

/// <summary>
/// What comes from a socket, in one piece: whoever reads leaves at most a line of it. A read that was cancelled leaves its receive where it is, and the next
/// read goes on with that.
/// </summary>
internal sealed class SocketInput : PipeReader, IValueTaskSource<ReadResult>, IDisposable
{
    /// <summary>Octets that are dropped at the end: as many as the kernel may hold for us by default.</summary>
    private const int MostDropped = 128 * 1024;

    /// <summary>Less room than this is not worth a system call.</summary>
    private const int LeastRoom = 512;

    /// <summary>
    /// Bits of <see cref="_state"/>. Whoever adds the first of Canceled and Received while a read waits ends its wait; whoever adds the second of Received
    /// and Closed while a receive is under way gives its buffer back.
    /// </summary>
    private const int Waiting = 1, Canceled = 2, Received = 4, Closed = 8;

    private readonly Socket _socket;
    private readonly ReceiveBuffers _buffers;
    private readonly Receiver _receiver;
    private ManualResetValueTaskSourceCore<bool> _wait;
    private CancellationTokenRegistration _canceling;
    private CancellationToken _token;
    private int _state;
    private byte[] _block = [];
    private int _start;
    private int _end;
    private int _examined;
    private bool _isReceiving;
    private bool _hasEnded;

    public SocketInput(Socket socket, ReceiveBuffers buffers)
    {
        (_socket, _buffers) = (socket, buffers);
        _receiver = new Receiver(this);
    }

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (TryTake(Canceled))
            return new ValueTask<ReadResult>(Result(isCanceled: true));
        if (_examined < _end || _hasEnded)
            return new ValueTask<ReadResult>(Result());
        try
        {
            if (!_isReceiving && !BeginReceive())
            {
                Take();
                return new ValueTask<ReadResult>(Result());
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or ConnectionResetException)
        {
            return ValueTask.FromException<ReadResult>(e as ConnectionResetException ?? new ConnectionResetException(e.Message, e));
        }
        _wait.Reset();
        _token = cancellationToken;
        _canceling = cancellationToken.UnsafeRegister(static input => ((SocketInput)input!).CancelPendingRead(), this);
        if ((Interlocked.Or(ref _state, Waiting) & (Canceled | Received)) != 0)
            _wait.SetResult(true);
        return new ValueTask<ReadResult>(this, _wait.Version);
    }

    /// <summary>Also what has come and was not received yet.</summary>
    public override bool TryRead(out ReadResult result)
    {
        bool isCanceled = TryTake(Canceled);
        if (!isCanceled && _examined == _end && !_hasEnded)
        {
            if (TryTake(Received))
            {
                Take();
            }
            else if (!_isReceiving && _socket.Available > 0)
            {
                MakeRoom();
                _end += _socket.Receive(_block.AsSpan(_end), SocketFlags.None, out _); // what is wrong with it, the next read says
            }
        }
        result = Result(isCanceled);
        return isCanceled || _examined < _end || _hasEnded;
    }

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        (_start, _examined) = (consumed.GetInteger(), Math.Max(consumed.GetInteger(), examined.GetInteger()));
        if (_start == _end && !_isReceiving)
            _start = _end = _examined = 0;
    }

    /// <summary>What waits goes on in a thread of the pool: whoever cancels has something else to do.</summary>
    public override void CancelPendingRead()
    {
        if ((Interlocked.Or(ref _state, Canceled) & (Waiting | Canceled | Received)) == Waiting)
            ThreadPool.UnsafeQueueUserWorkItem(static input => input._wait.SetResult(true), this, preferLocal: false);
    }

    public override void Complete(Exception? exception = null) => Dispose();

    /// <summary>Gives its buffer back, once nothing is received into it any more: the socket must be closed for that.</summary>
    public void Dispose()
    {
        _receiver.Dispose();
        int before = Interlocked.Or(ref _state, Closed);
        if ((before & Closed) == 0 && (!_isReceiving || (before & Received) != 0))
            ReturnBlock();
        (_start, _end, _examined, _hasEnded) = (0, 0, 0, true);
    }

    /// <summary>Receives what is there already, and forgets it.</summary>
    public void Drop()
    {
        Span<byte> dropped = stackalloc byte[4096];
        for (int all = 0, n = 1; n > 0 && all < MostDropped && _socket.Available > 0; all += n)
            n = _socket.Receive(dropped, SocketFlags.None, out _);
    }

    /// <summary>False when it is done already.</summary>
    private bool BeginReceive()
    {
        MakeRoom();
        _receiver.SetBuffer(_block, _end, _block.Length - _end);
        return _isReceiving = _socket.ReceiveAsync(_receiver);
    }

    private void EndReceive()
    {
        int before = Interlocked.Or(ref _state, Received);
        if ((before & Closed) != 0)
            ReturnBlock();
        if ((before & (Waiting | Canceled | Received)) == Waiting)
            _wait.SetResult(true);
    }

    private void ReturnBlock()
    {
        if (_block.Length > 0)
            _buffers.Return(_block);
        _block = [];
    }

    /// <exception cref="ConnectionResetException">The client has ended the connection, or this side has, without saying so to the other.</exception>
    private void Take()
    {
        _isReceiving = false;
        if ((_state & Closed) != 0)
            throw new ConnectionResetException("closed on this side");
        if (_receiver.SocketError != SocketError.Success)
        {
            var e = new SocketException((int)_receiver.SocketError);
            throw new ConnectionResetException(e.Message, e);
        }
        _end += _receiver.BytesTransferred;
        _hasEnded |= _receiver.BytesTransferred == 0;
    }

    private bool TryTake(int bit) => (_state & bit) != 0 && (Interlocked.And(ref _state, ~bit) & bit) != 0;

    ReadResult IValueTaskSource<ReadResult>.GetResult(short token)
    {
        _wait.GetResult(token);
        _canceling.Dispose();
        Interlocked.And(ref _state, ~Waiting);
        // Also when the token came too late for this read: it is not meant for the next one.
        bool isCanceled = TryTake(Canceled) && !_token.IsCancellationRequested;
        if (TryTake(Received))
            Take();
        else
            _token.ThrowIfCancellationRequested();
        return Result(isCanceled);
    }

    ValueTaskSourceStatus IValueTaskSource<ReadResult>.GetStatus(short token) => _wait.GetStatus(token);

    void IValueTaskSource<ReadResult>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _wait.OnCompleted(continuation, state, token, flags);

    private ReadResult Result(bool isCanceled = false) => new(new ReadOnlySequence<byte>(_block, _start, _end - _start), isCanceled, _hasEnded);

    private void MakeRoom()
    {
        if (_block.Length - _end >= LeastRoom)
            return;
        byte[] old = _block;
        int length = _end - _start;
        if (old.Length - length < LeastRoom)
            _block = length == 0 ? _buffers.Rent() : new byte[ReceiveBuffers.Large + (2 * length)]; // none of the pool's
        old.AsSpan(_start, length).CopyTo(_block);
        (_start, _end, _examined) = (0, length, _examined - _start);
        if (old != _block && old.Length > 0)
            _buffers.Return(old);
    }

    private sealed class Receiver(SocketInput input) : SocketAsyncEventArgs(unsafeSuppressExecutionContextFlow: true)
    {
        protected override void OnCompleted(SocketAsyncEventArgs e) => input.EndReceive();
    }
}

/// <summary>What goes to a socket; it has a buffer only while there is something to send.</summary>
#pragma warning disable CA1001 // a source without a timer holds nothing that must be released
internal sealed class SocketOutput(Socket socket) : PipeWriter
#pragma warning restore CA1001
{
    private const int Least = 512;

    private byte[] _buffer = [];
    private int _length;

    /// <summary>Of the flush that waits, or else the next.</summary>
    private volatile CancellationTokenSource _cancel = new();

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
    public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
    {
        if (_length == 0)
            return default;
        if (_cancel.IsCancellationRequested || cancellationToken.IsCancellationRequested)
            return SendAsync(0, cancellationToken);
        try
        {
            // The kernel has room for replies, nearly always, and then there is nothing to wait for.
            int sent = socket.Send(_buffer.AsSpan(0, _length), SocketFlags.None, out SocketError error);
            if (error is SocketError.WouldBlock || (error is SocketError.Success && sent < _length))
                return SendAsync(sent, cancellationToken);
            Empty();
            return new ValueTask<FlushResult>(new FlushResult(isCanceled: false, isCompleted: error != SocketError.Success));
        }
        catch (ObjectDisposedException)
        {
            Empty();
            return new ValueTask<FlushResult>(new FlushResult(isCanceled: false, isCompleted: true));
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<FlushResult> SendAsync(int sent, CancellationToken cancellationToken)
    {
        CancellationTokenSource cancel = _cancel;
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel.Token, cancellationToken);
        try
        {
            while (sent < _length)
                sent += await socket.SendAsync(_buffer.AsMemory(sent, _length - sent), SocketFlags.None, either.Token);
            return default;
        }
        catch (OperationCanceledException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            _cancel = new CancellationTokenSource();
            return new FlushResult(isCanceled: true, isCompleted: false);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return new FlushResult(isCanceled: false, isCompleted: true);
        }
        finally
        {
            Empty();
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
