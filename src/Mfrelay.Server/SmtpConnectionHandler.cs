using System.Collections.Concurrent;
using System.Net;
using Mfrelay.Core;
using Microsoft.AspNetCore.Connections;

namespace Mfrelay.Server;

/// <summary>What every session of the process shares.</summary>
internal sealed class SmtpServices(Func<Admission> admission, MailQueue queue, MailLog log, TimeProvider time)
{
    public Func<Admission> Admission { get; } = admission;
    public MailQueue Queue { get; } = queue;
    public MailLog Log { get; } = log;
    public TimeProvider Time { get; } = time;

    /// <summary>The sessions that are open.</summary>
    public ConcurrentDictionary<SmtpConnection, Task> Sessions { get; } = new();

    private volatile bool _stopping;

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
}

/// <summary>Kestrel hands over each connection here.</summary>
internal sealed class SmtpConnectionHandler(SmtpServices services) : ConnectionHandler
{
    public override async Task OnConnectedAsync(ConnectionContext connection)
    {
        if (services.Sessions.Count >= services.Admission().Settings.Server.MaxConnections)
        {
            await connection.Transport.Output.WriteAsync(Replies.TooManyConnections.Wire);
            return;
        }
        var client = connection.RemoteEndPoint as IPEndPoint ?? new IPEndPoint(IPAddress.None, 0);
        using var session = new SmtpConnection(connection.Transport, client, services);
        var ended = new TaskCompletionSource();
        services.Add(session, ended.Task);
        try
        {
            await session.RunAsync();
        }
        catch (Exception e) when (e is ConnectionResetException or ConnectionAbortedException or IOException or OperationCanceledException)
        {
            services.Log.SessionLost(client.ToString(), "", "connection", e.Message);
        }
        catch (Exception e)
        {
            services.Log.Unexpected($"session {client}", e);
            await connection.Transport.Output.WriteAsync(Replies.StorageFailed.Wire);
        }
        finally
        {
            services.Sessions.TryRemove(session, out _);
            ended.SetResult();
        }
    }
}
