using System.Collections.Concurrent;
using System.Net;
using Mfrelay.Core;
using Microsoft.AspNetCore.Connections;

namespace Mfrelay.Server;

/// <summary>What every session of the process shares.</summary>
internal sealed class SmtpServices(Func<Admission> admission, MailQueue queue, MailLog log, TimeProvider time) : IDisposable
{
    public Func<Admission> Admission { get; } = admission;
    public MailQueue Queue { get; } = queue;
    public MailLog Log { get; } = log;
    public TimeProvider Time { get; } = time;
    public ServerFigures Figures { get; } = new();
    public ClientTable Clients { get; } = new(time);
    public LimitLog LimitLog { get; } = new(log, time);
    public CertificateStore Certificates { get; } = new(admission, log, time);
    public UserStore Users { get; } = new(admission, log);

    /// <summary>The sessions that are open.</summary>
    public ConcurrentDictionary<SmtpConnection, Task> Sessions { get; } = new();

    private volatile bool _stopping;
    private int _open;

    /// <summary>Connections that are open.</summary>
    public int Open => Volatile.Read(ref _open);

    /// <summary>Counts a connection in; false when there are as many as there may be.</summary>
    public bool TryEnter()
    {
        Figures.Connections.Add();
        if (Interlocked.Increment(ref _open) <= Admission().Settings.Server.MaxConnections)
            return true;
        Interlocked.Decrement(ref _open);
        return false;
    }

    public void Leave() => Interlocked.Decrement(ref _open);

    /// <summary>Counts a refusal, and logs the limit that it is for, if it is for one.</summary>
    public void CountRefused(Reply refusal, IPAddress client, bool inData = false)
    {
        Figures.Refused(refusal, inData);
        if (refusal.Limit is not null)
            LimitLog.Reached(refusal.Limit, client);
    }

    /// <summary>A session that began while the listeners were closing hears 421 too.</summary>
    public void Add(SmtpConnection session, Task ended)
    {
        Sessions.TryAdd(session, ended);
        if (_stopping)
            session.Stop();
    }

    /// <summary>Idle sessions end with 421 now, others after their transaction; returns when all have ended or the time is up.</summary>
    public async Task StopAsync(TimeSpan limit)
    {
        _stopping = true;
        foreach (SmtpConnection session in Sessions.Keys)
            session.Stop();
        await Task.WhenAny(Task.WhenAll(Sessions.Values), Task.Delay(limit, Time));
    }

    public void Dispose() => Users.Dispose();
}

/// <summary>Kestrel hands over each connection here.</summary>
/// <param name="listener">The address that they come to, as configured.</param>
internal sealed class SmtpConnectionHandler(SmtpServices services, IPEndPoint listener)
{
    public async Task OnConnectedAsync(ConnectionContext connection)
    {
        var client = connection.RemoteEndPoint as IPEndPoint ?? new IPEndPoint(IPAddress.None, 0);
        if (!services.TryEnter())
        {
            services.CountRefused(Replies.TooManyConnections, client.Address);
            if (services.Admission().PolicyOf(listener).Tls != ListenerTls.Implicit)
                await connection.Transport.Output.WriteAsync(Replies.TooManyConnections.Wire);
            return;
        }
        using var session = new SmtpConnection(connection.Transport, client, services, listener);
        var ended = new TaskCompletionSource();
        services.Add(session, ended.Task);
        try
        {
            await session.RunAsync();
        }
        catch (Exception e) when (e is ConnectionResetException or ConnectionAbortedException or IOException or OperationCanceledException)
        {
            services.Log.SessionLost(client.ToString(), "", [], "connection", e.Message);
        }
        catch (Exception e)
        {
            services.Log.Unexpected($"session {client}", e);
            session.TryAbort();
        }
        finally
        {
            services.Sessions.TryRemove(session, out _);
            ended.SetResult();
            // All replies are with the kernel by now, unless the client takes none.
            if (session.IsDeaf)
                connection.Abort();
            await connection.DisposeAsync();
            services.Leave();
        }
    }
}
