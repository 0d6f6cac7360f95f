using System.Net.Sockets;
using BenchmarkDotNet.Attributes;
using Mfrelay.Core;

namespace Mfrelay.Bench;

/// <summary>
/// What whoever logs pays for the lines of a message, to the journal and to the event log: a socket that a thread of this process empties, and a
/// file. The threads behind the two queues run beside it and are not in the time, unless they are in the way.
/// </summary>
public class LogBenchmarks : IDisposable
{
    private readonly Scratch _scratch = new();
    private readonly Socket _journal = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
    private MailLog? _log;
    private Envelope? _envelope;
    private Reception _reception;
    private RecipientResult _result;
    private readonly string[] _ten = [.. Enumerable.Range(0, 10).Select(i => $"r{i}@peer.bench.test")];

    [Params(Language.Ja, Language.En)]
    public Language Language { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        string path = Path.Join(_scratch.Directory.Root, "journal");
        _journal.Bind(new UnixDomainSocketEndPoint(path));
        new Thread(Empty) { IsBackground = true }.Start();
        _log = MailLog.ToJournal(path, "bench", Language, limit: 0, TimeProvider.System);
        _log.Events = new EventLog("bench", Samples.SettingsFor(1, _scratch.Directory.Root) with { LogDirectory = _scratch.Directory.Root }, _log, TimeProvider.System);

        var id = new QueueId(7);
        _envelope = Samples.Envelope(id);
        _reception = new Reception(DateTimeOffset.UtcNow, null, "20261124.7@src.bench.test", 4096, TimeSpan.FromMilliseconds(1.234));
        _result = new RecipientResult(Samples.Delivery(id, default, 4096), SpooledMessage.FromMemory(_envelope, Samples.Mail(4096)),
            Samples.MailServer("*"), ["r@peer.bench.test"], "final dot", "250 2.0.0 Ok: queued as 4711", TimeSpan.FromMilliseconds(12.345), TimeSpan.FromMilliseconds(2.345));
    }

    [Benchmark]
    public void Accepted() => _log!.Accepted(_envelope!, _reception);

    [Benchmark]
    public void AttemptEnded() => _log!.AttemptEnded(_result.Delivery, _result.Server!, 1, 0, 0, _result.Delay, _result.Duration);

    [Benchmark]
    public void Delivered() => _log!.Delivered(_result);

    [Benchmark]
    public void DeliveredToTen() => _log!.Delivered(_result with { To = _ten });

    [GlobalCleanup]
    public void Dispose()
    {
        _log?.Dispose();
        _journal.Dispose();
        _scratch.Dispose();
        GC.SuppressFinalize(this);
    }

    private void Empty()
    {
        byte[] buffer = new byte[64 * 1024];
        try
        {
            while (_journal.Receive(buffer) > 0)
            {
            }
        }
        catch (SocketException)
        {
            // Closed at the end.
        }
    }
}
