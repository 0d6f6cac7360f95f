using System.Globalization;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Bench;

/// <summary>
/// Fills a state directory with deferred deliveries, through the spool, the indexing and the table that the daemons use: for measuring how
/// they work with a long queue. The next attempts are spread over the hours to come.
/// </summary>
internal static class FillQueue
{
    private const int AtOnce = 500;

    public static async Task<int> RunAsync(string[] args)
    {
        if (args is not [var directory, var number, .. var more] || !int.TryParse(number, CultureInfo.InvariantCulture, out int count))
        {
            await Console.Error.WriteLineAsync("fill DIRECTORY COUNT [DOMAIN ...]   fills a state directory; mail goes to the domains by turns");
            return 64;
        }
        string[] domains = more.Length > 0 ? more : ["dead.bench.test"];
        using MailLog log = MailLog.ToAction(Language.En, (_, line) => Console.WriteLine(line));
        StateDirectory state = StateDirectory.Open(directory);
        var routes = new RouteTable(domains.Select(domain => new MailServer { Domain = domain, Host = "192.0.2.1" }));
        using var store = new QueueStore(state, () => routes, log, TimeProvider.System);
        (SpoolPosition end, long highest) = await store.TakeOverAsync(SpoolOwner.Server);
        var ids = new QueueIdSource(TimeProvider.System, highest);
        Task indexed = Task.CompletedTask;
        var chance = new Random(1);
        using (var spool = new SpoolWriter(state.Spool, SpoolOwner.Server, ids, records =>
        {
            (SpoolPosition from, SpoolPosition to) = (end, records[^1].End);
            end = to;
            Delivery[] rows = [.. records.SelectMany(Deferred)];
            indexed = store.RunAsync(table => table.InsertUpTo(SpoolOwner.Server, from, to, rows, _ => throw new InvalidOperationException("not alone")));
        }))
        {
            IncomingMessage[] messages = [.. Enumerable.Range(0, AtOnce).Select(_ => spool.NewMessage())];
            for (int done = 0; done < count;)
            {
                int some = Math.Min(AtOnce, count - done);
                await Task.WhenAll(messages.Take(some).Select((message, i) => StoreAsync(message, ids.Next(), domains[(done + i) % domains.Length])));
                await indexed;
                done += some;
                if (done % 50_000 == 0)
                    Console.WriteLine($"{done} of {count}");
            }
        }
        await indexed;
        return 0;

        IEnumerable<Delivery> Deferred(SpooledRecord record) => routes.Split(record.Envelope, record.Position, record.Size).Select(row => row with
        {
            Attempts = 3,
            NextAttempt = TimeProvider.System.GetUtcNow() + TimeSpan.FromMinutes(30 + chance.Next(300)),
            LastReply = "rcpt: 450 4.2.1 try again later",
        });
    }

    private static async Task StoreAsync(IncomingMessage message, QueueId id, string domain)
    {
        message.Begin(id);
        message.Append(Encoding.ASCII.GetBytes($"Subject: deferred {id}\r\n\r\nA message that waits.\r\n"));
        SpoolResult result = await message.CommitAsync(new Envelope
        {
            Id = id,
            Arrival = TimeProvider.System.GetUtcNow(),
            ReversePath = "sender@bench.test",
            Recipients = [new Recipient($"user{id}@{domain}")],
            ClientAddress = "127.0.0.1:1",
            HeloName = "bench.test",
            Protocol = "ESMTP",
        });
        if (result != SpoolResult.Durable)
            throw new IOException($"The spool says {result}");
    }
}
