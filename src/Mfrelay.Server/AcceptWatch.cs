using System.Collections.Concurrent;
using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Mfrelay.Server;

/// <summary>
/// Kestrel's sockets, and whether it still takes connections from each: its loop ends for good when taking one fails. Told from inside,
/// since a connection of our own could be kept away by a firewall, and a healthy server must not be ended for that.
/// </summary>
internal sealed class AcceptWatch(IOptions<SocketTransportOptions> options, ILoggerFactory loggers) : IConnectionListenerFactory
{
    private readonly SocketTransportFactory _sockets = new(options, loggers);
    private readonly ConcurrentQueue<Listener> _listeners = [];

    public async ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        var listener = new Listener(await _sockets.BindAsync(endpoint, cancellationToken));
        _listeners.Enqueue(listener);
        return listener;
    }

    /// <summary>Each listener waits for a connection, or has taken one since the last call.</summary>
    public bool AreAllAccepting()
    {
        bool all = true;
        foreach (Listener listener in _listeners)
            all &= listener.IsAccepting();
        return all;
    }

    private sealed class Listener(IConnectionListener sockets) : IConnectionListener
    {
        private volatile bool _isWaiting;
        private int _taken;
        private int _seen = -1;

        public EndPoint EndPoint => sockets.EndPoint;

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            _isWaiting = true;
            try
            {
                return await sockets.AcceptAsync(cancellationToken);
            }
            finally
            {
                _isWaiting = false;
                Interlocked.Increment(ref _taken);
            }
        }

        public bool IsAccepting()
        {
            int taken = Volatile.Read(ref _taken);
            bool hasTaken = taken != _seen;
            _seen = taken;
            return hasTaken || _isWaiting;
        }

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default) => sockets.UnbindAsync(cancellationToken);

        public ValueTask DisposeAsync() => sockets.DisposeAsync();
    }
}
