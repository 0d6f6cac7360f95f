using Mfrelay.Core;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Tests;

/// <summary>A state directory of a test, with what it takes to fill its spool and to look at what came of it.</summary>
internal sealed class State : IDisposable
{
    private readonly DirectoryInfo _root = System.IO.Directory.CreateTempSubdirectory("mfrelay-");
    private readonly List<string> _log = [];

    public State()
    {
        Directory = StateDirectory.Open(_root.FullName);
        Log = MailLog.ToAction(Language.En, (_, line) =>
        {
            lock (_log)
                _log.Add(line);
        });
    }

    public StateDirectory Directory { get; }
    public string Spool => Directory.Spool;
    public MailLog Log { get; }
    public QueueIdSource Ids { get; private set; } = new(TimeProvider.System);
    public RouteTable Routes { get; } = new([
        new MailServer { Domain = "example.com", Host = "192.0.2.1" },
        new MailServer { Domain = "*", Host = "192.0.2.2" },
    ]);

    public string[] LogLines(string code)
    {
        lock (_log)
            return [.. _log.Where(line => line.StartsWith(code, StringComparison.Ordinal))];
    }

    public static Envelope EnvelopeOf(QueueId id, params string[] to) => new()
    {
        Id = id,
        Arrival = DateTimeOffset.FromUnixTimeMilliseconds(1732427566123),
        ClientAddress = "192.0.2.9:40112",
        HeloName = "mail.example.org",
        Protocol = "ESMTP",
        ReversePath = "a@example.org",
        Recipients = [.. (to.Length == 0 ? ["b@example.com"] : to).Select(path => new Recipient(path))],
    };

    /// <summary>The same in all values, recipients included.</summary>
    public static bool SameRow(Delivery? a, Delivery? b) => (a, b) switch
    {
        (null, null) => true,
        (null, _) or (_, null) => false,
        _ => a.Recipients.SequenceEqual(b.Recipients) && a == b with { Recipients = a.Recipients, LeafMates = a.LeafMates },
    };

    public static byte[] Data(int size, int seed = 1)
    {
        byte[] data = new byte[size];
        new Random(seed).NextBytes(data);
        if (size >= 2)
            (data[^2], data[^1]) = ((byte)'\r', (byte)'\n');
        return data;
    }

    public SpoolWriter Writer(Action<IReadOnlyList<SpooledRecord>>? durable = null, long segmentLimit = SpoolWriter.DefaultSegmentLimit,
        SpoolOwner owner = SpoolOwner.Server) =>
        new(Spool, owner, Ids, durable ?? (_ => { }), segmentLimit);

    /// <summary>A run of the server that accepts these messages, one after another, and ends in good order. Their records.</summary>
    public async Task<List<SpooledRecord>> AcceptAsync(params byte[][] messages)
    {
        var records = new List<SpooledRecord>();
        using SpoolWriter writer = Writer(records.AddRange);
        using IncomingMessage message = writer.NewMessage();
        foreach (byte[] data in messages)
        {
            QueueId id = Ids.Next();
            message.Begin(id);
            message.Append(data);
            if (await message.CommitAsync(EnvelopeOf(id)) != SpoolResult.Durable)
                throw new InvalidOperationException("not durable");
        }
        return records;
    }

    public QueueStore Store() => new(Directory, () => Routes, Log, TimeProvider.System);

    /// <summary>What a start of the server does with what an earlier run left.</summary>
    public void StartAgain() => Ids = new QueueIdSource(TimeProvider.System, SpoolIndexer.SealLeftovers(Spool, SpoolOwner.Server, Log));

    /// <summary>The rows of the queue table, after the server's catching up.</summary>
    public async Task<IReadOnlyList<Delivery>> RowsAsync()
    {
        using QueueStore store = Store();
        return await store.RunAsync(table =>
        {
            store.CatchUp(SpoolOwner.Server, table);
            return table.ReadAfter(0, int.MaxValue);
        });
    }

    public static byte[] BytesOf(SpooledMessage message)
    {
        var all = new MemoryStream();
        byte[] scratch = new byte[10_000];
        while (all.Length < message.Size)
            all.Write(message.Read(all.Length, scratch).Span);
        return all.ToArray();
    }

    public string SegmentPath(long segment) => Path.Combine(Spool, SpoolFormat.SegmentName(segment));

    /// <summary>Takes the seal away: as if the process had died.</summary>
    public void Unseal(long segment, long end)
    {
        using SafeFileHandle file = File.OpenHandle(SegmentPath(segment), FileMode.Open, FileAccess.ReadWrite);
        RandomAccess.SetLength(file, end);
    }

    public static void FlipBit(string path, long at)
    {
        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
        byte[] octet = new byte[1];
        RandomAccess.Read(file, octet, at);
        octet[0] ^= 0x10;
        RandomAccess.Write(file, octet, at);
    }

    /// <summary>The seals of the segments, null for an open one.</summary>
    public List<RecordHead?> Sealed() => [.. SpoolScanner.Segments(Spool).Select(segment => SegmentSeal.Read(SegmentPath(segment), segment))];

    public string[] Damaged()
    {
        string damaged = Path.Combine(Directory.Root, "queue", "damaged");
        return System.IO.Directory.Exists(damaged) ? System.IO.Directory.GetFiles(damaged) : [];
    }

    public void Dispose()
    {
        Log.Dispose();
        _root.Delete(recursive: true);
    }
}
