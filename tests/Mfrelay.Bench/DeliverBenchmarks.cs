using System.Net;
using System.Net.Sockets;
using BenchmarkDotNet.Attributes;
using Mfrelay.Client;
using Mfrelay.Core;

namespace Mfrelay.Bench;

/// <summary>
/// One session delivers a message, from its record in the spool to the reply to the final dot, over loopback. The mail server is a thread of this
/// process that allocates nothing. What is left out: schedule, done journal, log lines.
/// </summary>
public class DeliverBenchmarks : IDisposable
{
    private readonly TakingPeer _peer = new();
    private Scratch? _scratch;
    private SpoolReader? _reader;
    private Delivery? _delivery;
    private OutboundSession? _session;

    [Params(4096, 65536)]
    public int Size { get; set; }

    [GlobalSetup]
    public async Task SetupAsync()
    {
        _scratch = new Scratch();
        var ids = new QueueIdSource(TimeProvider.System);
        QueueId id = ids.Next();
        List<SpooledRecord> records = [];
        using (var spool = new SpoolWriter(_scratch.Directory.Spool, SpoolOwner.Server, ids, records.AddRange))
        {
            using IncomingMessage message = spool.NewMessage();
            message.Begin(id);
            message.Append(Samples.Mail(Size));
            if (await message.CommitAsync(Samples.Envelope(id)) != SpoolResult.Durable)
                throw new IOException("not durable");
        }
        _delivery = Samples.Delivery(id, records[0].Position, Size);
        _reader = new SpoolReader(_scratch.Directory.Spool);
        var server = Samples.MailServer("*", "127.0.0.1", _peer.Port);
        Opening opening = await new SessionOpener(new SessionSettings { HostName = "relay.bench.test" }).OpenAsync(server, CancellationToken.None);
        _session = opening.Session ?? throw new InvalidOperationException(opening.Outcome.ToString());
    }

    [Benchmark]
    public async Task DeliverAsync()
    {
        using SpooledMessage message = _reader!.Open(_delivery!, out string? damage) ?? throw new InvalidDataException(damage);
        TransactionResult result = await _session!.SendAsync(new Transaction(_session, message, _delivery!.Recipients), CancellationToken.None);
        if (result.Outcomes[0].Reply is not { Class: 2 })
            throw new InvalidOperationException(result.Outcomes[0].ToString());
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _session?.Dispose();
        _peer.Dispose();
        _reader?.Dispose();
        _scratch?.Dispose();
        GC.SuppressFinalize(this);
    }
}

/// <summary>A mail server on loopback for one session: takes everything, keeps nothing.</summary>
internal sealed class TakingPeer : IDisposable
{
    private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

    public TakingPeer()
    {
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen();
        new Thread(Serve) { IsBackground = true }.Start();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndPoint!).Port;

    public void Dispose() => _listener.Dispose();

    private void Serve()
    {
        try
        {
            using Socket session = _listener.Accept();
            session.NoDelay = true;
            session.Send("220 peer.bench.test ESMTP\r\n"u8);
            byte[] buffer = new byte[256 * 1024], replies = new byte[4096];
            bool inData = false;
            for (int end = 0, n; (n = session.Receive(buffer.AsSpan(end))) > 0;)
            {
                end += n;
                int taken = Answer(buffer.AsSpan(0, end), replies, ref inData, out int answered);
                buffer.AsSpan(taken, end - taken).CopyTo(buffer);
                end -= taken;
                if (answered > 0)
                    session.Send(replies.AsSpan(0, answered));
            }
        }
        catch (SocketException)
        {
            // The end.
        }
    }

    /// <summary>Answers what is whole of the input; returns how much of it is done with.</summary>
    private static int Answer(ReadOnlySpan<byte> input, Span<byte> replies, ref bool inData, out int answered)
    {
        int taken = answered = 0;
        while (true)
        {
            ReadOnlySpan<byte> rest = input[taken..], end = inData ? "\r\n.\r\n"u8 : "\r\n"u8;
            int at = rest.IndexOf(end);
            if (at < 0)
                return inData ? taken + Math.Max(0, rest.Length - end.Length + 1) : taken;
            ReadOnlySpan<byte> reply = inData ? "250 2.0.0 taken\r\n"u8 : (char)rest[0] switch
            {
                'E' => "250-peer.bench.test\r\n250 PIPELINING\r\n"u8,
                'D' => "354 go on\r\n"u8,
                'Q' => "221 2.0.0 bye\r\n"u8,
                _ => "250 2.0.0 ok\r\n"u8,
            };
            inData = !inData && rest[0] == (byte)'D';
            reply.CopyTo(replies[answered..]);
            answered += reply.Length;
            taken += at + end.Length;
        }
    }
}
