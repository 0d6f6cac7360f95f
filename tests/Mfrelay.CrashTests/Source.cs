using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Mfrelay.IntegrationTests;

namespace Mfrelay.CrashTests;

/// <summary>Sessions that send through every loss of the server, and write down what was acknowledged.</summary>
internal sealed class Source(IPEndPoint server, Ledger ledger, int seed)
{
    public const int Sessions = 20;

    private int _last;
    private int _runs;

    /// <summary>Largest message; one in 50 is larger than 8,000 octets.</summary>
    public int MaxSize { get; init; } = 2_000_000;

    /// <summary>Of so many messages one goes to an address that the target puts off while it is told to; 0: none.</summary>
    public int LaterEvery { get; init; }

    /// <summary>Refused for want of room.</summary>
    public int Refused { get; private set; }

    /// <summary>Sends until told to stop, or until so many messages have been acknowledged.</summary>
    public Task RunAsync(CancellationToken stop, int count = int.MaxValue)
    {
        int run = _runs++;
        int left = count;
        return Task.WhenAll(Enumerable.Range(0, Sessions).Select(i => Task.Run(
            () => SessionAsync(new Random(seed * 1_000_003 + run * Sessions + i), () => !stop.IsCancellationRequested && Volatile.Read(ref left) > 0,
                () => Interlocked.Decrement(ref left)),
            CancellationToken.None)));
    }

    private async Task SessionAsync(Random random, Func<bool> goOn, Action acknowledged)
    {
        while (goOn())
        {
            try
            {
                using Sender sender = await Sender.ConnectAsync(server);
                if (!(await sender.HelloAsync()).StartsWith('2'))
                    continue;
                while (goOn())
                {
                    int id = Interlocked.Increment(ref _last);
                    string to = LaterEvery > 0 && id % LaterEvery == 0 ? "later@example.com" : "to@example.com";
                    string reply = await sender.MailAsync("sender@example.org", [to], Message(id, SizeOf(random)));
                    if (reply.StartsWith("452 4.3.1", StringComparison.Ordinal))
                    {
                        Refused++;
                        await Task.Delay(50, CancellationToken.None);
                        continue;
                    }
                    if (!reply.StartsWith('2'))
                        break;
                    ledger.Acknowledge(id);
                    acknowledged();
                }
            }
            catch (Exception e) when (e is IOException or SocketException or TimeoutException or ObjectDisposedException)
            {
                // Killed: the message in flight was not acknowledged.
            }
            await Task.Delay(20, CancellationToken.None);
        }
    }

    private int SizeOf(Random random) => random.Next(50) == 0 ? random.Next(MaxSize) : random.Next(Math.Min(MaxSize, 8_000));

    /// <summary>The first line of the body says which message it is and how many 'x' lines follow.</summary>
    private static byte[] Message(int id, int size)
    {
        int lines = size / 78;
        var text = new StringBuilder(size + 200);
        text.Append(CultureInfo.InvariantCulture, $"Message-ID: <{id}@crash.example>\r\nSubject: crash\r\n\r\nid {id} {lines}\r\n");
        for (int i = 0; i < lines; i++)
            text.Append('x', 76).Append("\r\n");
        return Encoding.ASCII.GetBytes(text.ToString());
    }
}
