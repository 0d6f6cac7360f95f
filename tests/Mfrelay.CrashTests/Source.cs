using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Text;
using Mfrelay.IntegrationTests;

namespace Mfrelay.CrashTests;

/// <summary>Sessions that send until they are told to stop, through every loss of the server, and note what was acknowledged.</summary>
internal sealed class Source(IPEndPoint server, int seed)
{
    public const int Sessions = 20;

    private int _last;

    public ConcurrentDictionary<int, bool> Acknowledged { get; } = new();

    public Task RunAsync(CancellationToken stop) =>
        Task.WhenAll(Enumerable.Range(0, Sessions).Select(i => Task.Run(() => SessionAsync(new Random(seed * Sessions + i), stop), CancellationToken.None)));

    private async Task SessionAsync(Random random, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                using Sender sender = await Sender.ConnectAsync(server);
                if (!(await sender.HelloAsync()).StartsWith('2'))
                    continue;
                while (!stop.IsCancellationRequested)
                {
                    int id = Interlocked.Increment(ref _last);
                    if (!(await sender.MailAsync("sender@example.org", ["to@example.com"], Message(id, SizeOf(random)))).StartsWith('2'))
                        break;
                    Acknowledged[id] = true;
                }
            }
            catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or TimeoutException)
            {
                // Killed: the message in flight was not acknowledged.
            }
            await Task.Delay(20, CancellationToken.None);
        }
    }

    /// <summary>Mostly small; one in 50 up to 2 MB.</summary>
    private static int SizeOf(Random random) => random.Next(50) == 0 ? random.Next(2_000_000) : random.Next(8_000);

    /// <summary>The first line of the body says which message it is and how many octets of 'x' lines follow.</summary>
    private static byte[] Message(int id, int size)
    {
        int lines = size / 78;
        var text = new StringBuilder(size + 200);
        text.Append(CultureInfo.InvariantCulture, $"Subject: crash\r\n\r\nid {id} {lines}\r\n");
        for (int i = 0; i < lines; i++)
            text.Append('x', 76).Append("\r\n");
        return Encoding.ASCII.GetBytes(text.ToString());
    }
}
