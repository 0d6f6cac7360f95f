using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Runtime.CompilerServices;
using System.Text;
using BenchmarkDotNet.Attributes;
using Mfrelay.Core;
using Mfrelay.Server;

namespace Mfrelay.Bench;

/// <summary>
/// One session takes a message of 4 KiB, from its octets in the pipe to the 250: dialog, decoder, spool with its fdatasync, log line,
/// row in the queue table. What is left out: sockets, and the thread that prints log lines. With one session each row is a turn of the lease;
/// with TableBusy another process has the lease all the time, so that only the path to the 250 is measured.
/// </summary>
public class AcceptBenchmarks : IDisposable
{
    private static readonly byte[] Dialog = [.. "MAIL FROM:<s@src.bench.test> SIZE=4096\r\nRCPT TO:<r@d5.bench.test>\r\nDATA\r\n"u8];

    private readonly byte[] _mail = Samples.StuffedMail(4096);
    private readonly Pipe _toServer = new();
    private readonly Pipe _toClient = new();
    private Scratch? _scratch;
    private Lease? _lease;
    private WakeSocket? _client;
    private MailQueue? _queue;
    private SmtpConnection? _connection;
    private Task _running = Task.CompletedTask;

    [Params(true, false)]
    public bool TableBusy { get; set; }

    [GlobalSetup]
    public async Task SetupAsync()
    {
        _scratch = new Scratch();
        Settings settings = Samples.SettingsFor(10, _scratch.Directory.Root);
        MailLog log = Samples.SilentLog();
        Admission? admission = new(settings, health: null);
        _client = WakeSocket.Of(settings.RunDirectory, WakeSocket.ClientName); // as if mf-smtp-client were there
        _ = ListenAsync(_client);
        _queue = await MailQueue.OpenAsync(_scratch.Directory, () => admission, log, TimeProvider.System);
        admission = await Samples.AdmissionAsync(settings, _queue.Store, log);
        var services = new SmtpServices(() => admission, _queue, log, TimeProvider.System);
        _connection = new SmtpConnection(new Duplex(_toServer.Reader, _toClient.Writer), new IPEndPoint(Samples.Client, 40112), services);
        _running = _connection.RunAsync();
        await ReadAsync("220");
        await SendAsync("EHLO src.bench.test\r\n"u8.ToArray());
        await ReadAsync("250 CHUNKING");
        if (!TableBusy)
            return;
        await _queue.Store.RunAsync(static table => table.NextKey);
        _lease = new Lease(_scratch.Directory.Root);
        _lease.Enter();
    }

    // Pooled, so that what is counted is the server's.
    [Benchmark]
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask MessageAsync()
    {
        await SendAsync(Dialog);
        await ReadAsync("354");
        await SendAsync(_mail);
        await ReadAsync("queued as");
    }

    [GlobalCleanup]
    public async Task CleanUpAsync()
    {
        await _toServer.Writer.CompleteAsync();
        await _running;
        Dispose();
    }

    public void Dispose()
    {
        _connection?.Dispose();
        _lease?.Leave();
        _lease?.Dispose();
        _queue?.Dispose();
        _client?.Dispose();
        _scratch?.Dispose();
        GC.SuppressFinalize(this);
    }

    private static async Task ListenAsync(WakeSocket client)
    {
        try
        {
            while (true)
                await client.WaitAsync(CancellationToken.None);
        }
        catch (Exception e) when (e is System.Net.Sockets.SocketException or ObjectDisposedException)
        {
            // The end.
        }
    }

    private ValueTask<FlushResult> SendAsync(byte[] octets) => _toServer.Writer.WriteAsync(octets);

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ReadAsync(string until)
    {
        while (true)
        {
            ReadResult read = await _toClient.Reader.ReadAsync();
            bool found = Contains(read.Buffer, until);
            _toClient.Reader.AdvanceTo(found ? read.Buffer.End : read.Buffer.Start, read.Buffer.End);
            if (found)
                return;
            if (read.IsCompleted)
                throw new InvalidDataException("the session has ended");
        }
    }

    private static bool Contains(ReadOnlySequence<byte> buffer, string text)
    {
        Span<byte> sought = stackalloc byte[text.Length];
        Encoding.ASCII.GetBytes(text, sought);
        return buffer.IsSingleSegment ? buffer.FirstSpan.IndexOf(sought) >= 0 : buffer.ToArray().AsSpan().IndexOf(sought) >= 0;
    }

    private sealed class Duplex(PipeReader input, PipeWriter output) : IDuplexPipe
    {
        public PipeReader Input { get; } = input;
        public PipeWriter Output { get; } = output;
    }
}
