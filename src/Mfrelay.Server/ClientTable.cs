using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>
/// What each client has open and has done lately: an IPv4 address, or an IPv6 /64, since that is what one host is given. Clients of
/// server.unlimited_clients are not in it.
/// </summary>
internal sealed class ClientTable(TimeProvider time)
{
    private const int SweepEvery = 4096;

    private readonly ConcurrentDictionary<IPAddress, ClientRecord> _clients = new();
    private int _entered;

    public int Count => _clients.Count;

    /// <summary>Counts a session in. Null: this client is not counted, or, with a refusal, has reached a limit.</summary>
    public ClientRecord? Enter(IPAddress address, ServerSettings limits, out Reply? refusal)
    {
        refusal = null;
        if (Admission.IsIn(limits.UnlimitedClients, address))
            return null;
        if (Interlocked.Increment(ref _entered) % SweepEvery == 0)
            Sweep();
        IPAddress key = KeyOf(address);
        while (true)
        {
            ClientRecord record = _clients.GetOrAdd(key, static (_, time) => new ClientRecord(time), time);
            if (record.TryEnter(limits, out refusal))
                return refusal is null ? record : null;
        }
    }

    // Whoever has nothing open and has done nothing for a while leaves.
    private void Sweep()
    {
        foreach ((IPAddress key, ClientRecord record) in _clients)
        {
            if (record.TryRetire())
                _clients.TryRemove(new(key, record));
        }
    }

    /// <summary>What stands for all addresses of one client.</summary>
    public static IPAddress KeyOf(IPAddress address)
    {
        if (address.AddressFamily != AddressFamily.InterNetworkV6)
            return address;
        byte[] octets = address.GetAddressBytes();
        octets.AsSpan(8).Clear();
        return new IPAddress(octets);
    }
}

/// <summary>One client's counters: open sessions, and what it did in the present minute (AUTH failures: ten minutes).</summary>
internal sealed class ClientRecord(TimeProvider time)
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan FailureWindow = TimeSpan.FromMinutes(10);

    private readonly Lock _gate = new();
    private int _open;
    private bool _retired;
    private Window _sessions = new(time);
    private Window _messages = new(time);
    private Window _failures = new(time);

    /// <summary>False: the record has left the table; take a new one.</summary>
    public bool TryEnter(ServerSettings limits, out Reply? refusal)
    {
        refusal = null;
        lock (_gate)
        {
            if (_retired)
                return false;
            if (_open >= limits.MaxConnectionsPerClient)
                refusal = Replies.TooManyConnectionsOfClient;
            else if (!_sessions.Take(Minute, limits.MaxConnectionRate))
                refusal = Replies.TooManyConnectionsPerMinute;
            else
                _open++;
            return true;
        }
    }

    public void Leave()
    {
        lock (_gate)
            _open--;
    }

    /// <summary>One more message; false when it is one too many.</summary>
    public bool TakeMessage(int limit)
    {
        lock (_gate)
            return _messages.Take(Minute, limit);
    }

    public void AuthFailed()
    {
        lock (_gate)
            _failures.Take(FailureWindow, 0);
    }

    public bool MayAuthenticate(int limit)
    {
        lock (_gate)
            return _failures.CountIn(FailureWindow) < limit;
    }

    public bool TryRetire()
    {
        lock (_gate)
        {
            _retired = _open == 0 && _sessions.CountIn(Minute) == 0 && _messages.CountIn(Minute) == 0 && _failures.CountIn(FailureWindow) == 0;
            return _retired;
        }
    }

    /// <summary>A count that begins anew when its time is over.</summary>
    private struct Window(TimeProvider time)
    {
        private long _began;
        private int _count;

        public bool Take(TimeSpan length, int limit)
        {
            if (CountIn(length) == 0)
                _began = time.GetTimestamp();
            if (limit > 0 && _count >= limit)
                return false;
            _count++;
            return true;
        }

        public int CountIn(TimeSpan length)
        {
            if (_count > 0 && time.GetElapsedTime(_began) >= length)
                _count = 0;
            return _count;
        }
    }
}

/// <summary>Says that a limit was reached, once per minute for each limit and client, so that a flood does not fill the log.</summary>
internal sealed class LimitLog(MailLog log, TimeProvider time)
{
    private const int MaxEntries = 10_000;
    private static readonly TimeSpan Pause = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<(string Limit, IPAddress Client), long> _said = new();

    public void Reached(string limit, IPAddress client)
    {
        if (IsNews(limit, client))
            log.LimitReached(limit, client.ToString());
    }

    /// <summary>False: that was said of this client within the last minute.</summary>
    public bool IsNews(string what, IPAddress client)
    {
        (string, IPAddress) key = (what, ClientTable.KeyOf(client));
        long now = time.GetTimestamp();
        if (_said.TryGetValue(key, out long before) && time.GetElapsedTime(before, now) < Pause)
            return false;
        if (_said.Count >= MaxEntries)
            _said.Clear();
        _said[key] = now;
        return true;
    }
}
