using System.Net;
using System.Text;
using Mfrelay.Core;
using Mfrelay.Server;

namespace Mfrelay.Bench;

/// <summary>Mail and config as the benchmarks want them.</summary>
internal static class Samples
{
    /// <summary>The domain that <see cref="SettingsFor"/> registers in the middle of its list.</summary>
    public const string Domain = "d5.bench.test";

    /// <summary>Mail data with lines of 72 octets, every tenth one with a stuffed dot; its end of data is with it.</summary>
    public static byte[] StuffedMail(int octets)
    {
        var text = new StringBuilder("Subject: bench\r\nFrom: <s@src.bench.test>\r\n\r\n");
        for (int line = 0; text.Length < octets - 80; line++)
            text.Append(line % 10 == 0 ? ".." : "").Append('x', 70).Append("\r\n");
        return Encoding.ASCII.GetBytes(text.Append(".\r\n").ToString());
    }

    public static byte[] Mail(int octets)
    {
        byte[] mail = new byte[octets];
        mail.AsSpan().Fill((byte)'x');
        for (int i = 70; i < octets - 4; i += 72)
            "\r\n"u8.CopyTo(mail.AsSpan(i));
        "\r\n"u8.CopyTo(mail.AsSpan(octets - 2));
        return mail;
    }

    public static Envelope Envelope(QueueId id, int recipients = 1) => new()
    {
        Id = id,
        Arrival = DateTimeOffset.UnixEpoch.AddDays(20_000),
        ReversePath = "s@src.bench.test",
        Recipients = [.. Enumerable.Range(0, recipients).Select(i => new Recipient($"r{i}@{Domain}"))],
        ClientAddress = "127.0.0.1:40112",
        HeloName = "src.bench.test",
        Protocol = "ESMTP",
    };

    public static Delivery Delivery(QueueId id, SpoolPosition position, long size) => new()
    {
        Id = id,
        Position = position,
        Size = size,
        Arrival = DateTimeOffset.UnixEpoch.AddDays(20_000),
        ReversePath = "s@src.bench.test",
        Route = "*",
        Recipients = [new OpenRecipient(0, "r@peer.bench.test")],
    };

    public static MailServer MailServer(string domain, string host = "127.0.0.1", int port = 25) => new() { Domain = domain, Host = host, Port = port };

    public static Settings SettingsFor(int domains, string directory = "/nonexistent") => new()
    {
        HostName = "relay.bench.test",
        StateDirectory = directory,
        RunDirectory = directory,
        MailServers = [.. Enumerable.Range(0, domains).Select(i => MailServer($"d{i}.bench.test"))],
    };

    /// <summary>The registered mail servers, each checked once and reached.</summary>
    public static async Task<Admission> AdmissionAsync(Settings settings, QueueStore store, MailLog log)
    {
        var monitor = new HealthMonitor(settings, store, log, TimeProvider.System, static (_, _, _) =>
            Task.FromResult<HealthEvent>(new HealthEvent.CheckSucceeded(new Announcement("SIZE", 50_000_000))));
        await monitor.ApplyAsync(settings);
        return new Admission(settings, monitor);
    }

    public static IPAddress Client { get; } = IPAddress.Loopback;

    public static MailLog SilentLog() => MailLog.ToAction(Language.En, static (_, _) => { });
}
