using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;

namespace Mfrelay.Server;

/// <summary>
/// The sockets that clients come to, and whether connections are still taken from each: told from inside, since a connection of our own could be kept away
/// by a firewall, and a healthy server must not be ended for that. Kestrel's own sockets receive ahead of whoever reads, through a pipe in each direction;
/// a dialog whose sides wait for each other has nothing to receive ahead, and paid for those pipes with every command.
/// </summary>
internal sealed class ClientSockets(ListenSockets sockets) : IConnectionListenerFactory
{
    private const int Backlog = 512;

    /// <summary>Before the next try when no connection could be taken.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    private readonly ReceiveBuffers _buffers = new();
    private readonly ConcurrentQueue<Listener> _listeners = [];

    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        Socket socket = sockets.Take(endpoint);
        socket.Listen(Backlog);
        var listener = new Listener(socket, _buffers);
        _listeners.Enqueue(listener);
        return ValueTask.FromResult<IConnectionListener>(listener);
    }

    /// <summary>Each listener waits for a connection, or has taken one since the last call.</summary>
    public bool AreAllAccepting()
    {
        bool all = true;
        foreach (Listener listener in _listeners)
            all &= listener.IsAccepting();
        return all;
    }

    private sealed class Listener(Socket socket, ReceiveBuffers buffers) : IConnectionListener
    {
        private volatile bool _isWaiting;
        private int _taken;
        private int _seen = -1;

        public EndPoint EndPoint { get; } = socket.LocalEndPoint!;

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            _isWaiting = true;
            try
            {
                while (true)
                {
                    try
                    {
                        return Open(await socket.AcceptAsync(cancellationToken));
                    }
                    catch (SocketException e) when (e.SocketErrorCode != SocketError.OperationAborted)
                    {
                        // The client is gone already, or there is no file handle for it: that passes, and ends no listener.
                        await Task.Delay(Pause, cancellationToken);
                    }
                }
            }
            catch (Exception e) when (e is ObjectDisposedException or SocketException)
            {
                return null;
            }
            finally
            {
                _isWaiting = false;
                Interlocked.Increment(ref _taken);
            }
        }

        private ClientSocket Open(Socket client)
        {
            try
            {
                return new ClientSocket(client, buffers);
            }
            catch
            {
                client.Dispose();
                throw;
            }
        }

        public bool IsAccepting()
        {
            int taken = Volatile.Read(ref _taken);
            bool hasTaken = taken != _seen;
            _seen = taken;
            return hasTaken || _isWaiting;
        }

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
        {
            socket.Dispose();
            return default;
        }

        public ValueTask DisposeAsync() => UnbindAsync(CancellationToken.None);
    }
}
