using System.Text;
using Mfrelay.Client;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>What the tests of the sending side share.</summary>
internal static class Sending
{
    public static readonly TimeSpan Short = TimeSpan.FromMilliseconds(250);

    public static SessionSettings Settings { get; } = new() { HostName = "relay.example" };

    /// <summary>All timeouts at 250 ms.</summary>
    public static SessionSettings Impatient { get; } = Settings with
    {
        ConnectTimeout = Short,
        GreetingTimeout = Short,
        CommandTimeout = Short,
        DataTimeout = Short,
        FinalDotTimeout = Short,
        QuitTimeout = Short,
    };

    public static async Task<OutboundSession> OpenAsync(ScriptedPeer peer, SessionSettings? settings = null)
    {
        Opening opening = await new SessionOpener(settings ?? Settings).OpenAsync(peer.Server, TestContext.Current.CancellationToken);
        return opening.Session ?? throw new InvalidOperationException(opening.Outcome.ToString());
    }

    public static Envelope Envelope(params string[] forwardPaths) => new()
    {
        Id = new QueueId(1),
        Arrival = DateTimeOffset.UnixEpoch,
        ReversePath = "s@a.example",
        Recipients = [.. forwardPaths.Select(path => new Recipient(path))],
        ClientAddress = "127.0.0.1:1",
        HeloName = "client.example",
        Protocol = "ESMTP",
    };

    public static SpooledMessage Message(params string[] forwardPaths) => Message(Envelope(forwardPaths), "Subject: x\r\n\r\n.\r\n");

    public static SpooledMessage Message(Envelope envelope, string data) => SpooledMessage.FromMemory(envelope, Encoding.UTF8.GetBytes(data));

    /// <summary>The message as the spool gives it back: in memory up to 256 KiB, beyond that read from its file.</summary>
    public static async Task<SpooledMessage> SpooledAsync(string directory, Envelope envelope, byte[] data)
    {
        var records = new List<SpooledRecord>();
        var ids = new QueueIdSource(TimeProvider.System);
        envelope = envelope with { Id = ids.Next() };
        using (var spool = new SpoolWriter(directory, SpoolOwner.Server, ids, records.AddRange))
        {
            using IncomingMessage incoming = spool.NewMessage();
            incoming.Begin(envelope.Id);
            incoming.Append(data);
            Assert.Equal(SpoolResult.Durable, await incoming.CommitAsync(envelope));
        }
        using var reader = new SpoolReader(directory);
        var routes = new RouteTable([new MailServer { Domain = "*", Host = "127.0.0.1" }]);
        SpooledMessage? message = reader.Open(routes.Split(envelope, records[0].Position, data.Length).First(), out string? damage);
        return message ?? throw new InvalidOperationException(damage);
    }

    /// <summary>Sends to every recipient of the envelope and tells how it went, recipient by recipient.</summary>
    public static Task<string[]> SendAsync(OutboundSession session, SpooledMessage message, CancellationToken? cancellation = null) =>
        SendAsync(session, Transaction(session, message), cancellation);

    public static Transaction Transaction(OutboundSession session, SpooledMessage message) =>
        new(session, message, [.. message.Envelope.Recipients.Select((recipient, i) => new OpenRecipient(i, recipient.ForwardPath))]);

    public static async Task<string[]> SendAsync(OutboundSession session, Transaction transaction, CancellationToken? cancellation = null)
    {
        TransactionResult result = await session.SendAsync(transaction, cancellation ?? TestContext.Current.CancellationToken);
        Assert.Equal(result.SessionUsable, !session.IsClosed);
        return [.. result.Outcomes.Select(outcome => outcome.ToString())];
    }
}
