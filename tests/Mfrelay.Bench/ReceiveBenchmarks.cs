using System.Buffers;
using BenchmarkDotNet.Attributes;
using Mfrelay.Core;
using Mfrelay.Server;

namespace Mfrelay.Bench;

/// <summary>Mail data from the wire into the message.</summary>
public class DotDecoderBenchmarks : IDisposable
{
    private byte[] _wire = [];
    private Scratch? _scratch;
    private SpoolWriter? _spool;
    private IncomingMessage? _message;
    private QueueId _id;

    [Params(4 * 1024, 64 * 1024)]
    public int Octets { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _wire = Samples.StuffedMail(Octets);
        _scratch = new Scratch();
        var ids = new QueueIdSource(TimeProvider.System);
        _id = ids.Next();
        _spool = new SpoolWriter(_scratch.Directory.Spool, SpoolOwner.Server, ids, static _ => { });
        _message = _spool.NewMessage();
    }

    [Benchmark]
    public bool Decode()
    {
        _message!.Begin(_id);
        var sink = new DataSink(_message, long.MaxValue);
        var decoder = new DotDecoder();
        decoder.Decode(_wire, sink);
        return decoder.IsComplete;
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _message?.Dispose();
        _spool?.Dispose();
        _scratch?.Dispose();
        GC.SuppressFinalize(this);
    }
}

/// <summary>The dialog of one message: five command lines to replies, with admission for ten registered domains.</summary>
public class SessionBenchmarks : IDisposable
{
    private Scratch? _scratch;
    private QueueStore? _store;
    private Admission? _admission;

    [GlobalSetup]
    public async Task SetupAsync()
    {
        _scratch = new Scratch();
        Settings settings = Samples.SettingsFor(10, _scratch.Directory.Root);
        MailLog log = Samples.SilentLog();
        _store = new QueueStore(_scratch.Directory, () => new RouteTable([]), log, TimeProvider.System);
        _admission = await Samples.AdmissionAsync(settings, _store, log);
    }

    [Benchmark]
    public int Parse() =>
        (int)SmtpCommandParser.Parse("EHLO src.bench.test"u8).Verb
        + (int)SmtpCommandParser.Parse("MAIL FROM:<s@src.bench.test>"u8).Verb
        + (int)SmtpCommandParser.Parse("RCPT TO:<r@d5.bench.test>"u8).Verb
        + (int)SmtpCommandParser.Parse("DATA"u8).Verb
        + (int)SmtpCommandParser.Parse("QUIT"u8).Verb;

    [Benchmark]
    public int Envelope()
    {
        var session = new SmtpSession(() => _admission!, Samples.Client);
        session.Command("EHLO src.bench.test"u8);
        session.Command("MAIL FROM:<s@src.bench.test> SIZE=4096"u8);
        session.Command("RCPT TO:<r@d5.bench.test>"u8);
        return session.Command("DATA"u8).Reply.Code;
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _store?.Dispose();
        _scratch?.Dispose();
        GC.SuppressFinalize(this);
    }
}

/// <summary>What is asked for every recipient: route, health of its mail servers, size limit.</summary>
public class AdmissionBenchmarks : IDisposable
{
    private Scratch? _scratch;
    private QueueStore? _store;
    private Admission? _admission;

    [Params(10, 10_000)]
    public int Domains { get; set; }

    [GlobalSetup]
    public async Task SetupAsync()
    {
        _scratch = new Scratch();
        MailLog log = Samples.SilentLog();
        _store = new QueueStore(_scratch.Directory, () => new RouteTable([]), log, TimeProvider.System);
        _admission = await Samples.AdmissionAsync(Samples.SettingsFor(Domains, _scratch.Directory.Root), _store, log);
    }

    [Benchmark]
    public bool AtRcpt() => _admission!.ForRecipient("someone@d5.bench.test", 4096, out _) is null;

    [Benchmark]
    public bool AtMail() => _admission!.ForClient(Samples.Client) is null && _admission.ForSender("someone@d6.bench.test") is null;

    [GlobalCleanup]
    public void Dispose()
    {
        _store?.Dispose();
        _scratch?.Dispose();
        GC.SuppressFinalize(this);
    }
}

/// <summary>The envelope's way to and from its text in the spool.</summary>
public class EnvelopeTextBenchmarks
{
    private readonly ArrayBufferWriter<byte> _output = new(1024);
    private readonly Envelope _envelope = Samples.Envelope(new QueueIdSource(TimeProvider.System).Next());
    private byte[] _text = [];

    [GlobalSetup]
    public void Setup()
    {
        EnvelopeText.Write(_envelope, _output);
        _text = _output.WrittenSpan.ToArray();
    }

    [Benchmark]
    public int Write()
    {
        _output.ResetWrittenCount();
        EnvelopeText.Write(_envelope, _output);
        return _output.WrittenCount;
    }

    [Benchmark]
    public object? Parse() => EnvelopeText.Parse(_text);
}
