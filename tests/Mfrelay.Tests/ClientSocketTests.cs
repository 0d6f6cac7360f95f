using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Mfrelay.Server;
using Microsoft.AspNetCore.Connections;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>A client's connection, with a client that is a socket.</summary>
public sealed class ClientSocketTests : IAsyncDisposable
{
    private readonly Socket _client = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly ClientSocket _connection;

    public ClientSocketTests()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.8"), 0));
        listener.Listen();
        _client.Connect(listener.LocalEndPoint!);
        _connection = new ClientSocket(listener.Accept(), new ReceiveBuffers());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Octets_come_once_and_in_order_however_they_are_sent_and_however_little_of_them_is_taken(int seed)
    {
        byte[] sent = State.Data(300_000, seed);
        Task sending = Task.Run(async () =>
        {
            var pieces = new Random(seed);
            for (int at = 0; at < sent.Length;)
                at += await _client.SendAsync(sent.AsMemory(at, Math.Min(sent.Length - at, pieces.Next(1, 30_000))), SocketFlags.None);
            _client.Shutdown(SocketShutdown.Send);
        }, TestContext.Current.CancellationToken);

        var chance = new Random(seed + 100);
        var received = new ArrayBufferWriter<byte>();
        while (true)
        {
            ReadResult read = await ReadAsync();
            if (read.IsCompleted && read.Buffer.IsEmpty)
                break;
            // Up to 40,000 octets stay: more than any line has.
            long taken = read.IsCompleted ? read.Buffer.Length : Math.Max(read.Buffer.Length - chance.Next(40_000), 0);
            foreach (ReadOnlyMemory<byte> piece in read.Buffer.Slice(0, taken))
                received.Write(piece.Span);
            _connection.Input.AdvanceTo(read.Buffer.GetPosition(taken), read.Buffer.End);
        }
        await sending;
        Assert.True(received.WrittenSpan.SequenceEqual(sent));
    }

    [Fact]
    public async Task What_was_not_looked_at_is_there_at_the_next_read()
    {
        await SendAsync("one two");
        ReadResult read = await ReadAsync();
        _connection.Input.AdvanceTo(read.Buffer.GetPosition(4));
        Assert.Equal("two", Text(await ReadAsync()));
    }

    [Fact]
    public async Task A_cancel_ends_the_read_that_waits_or_the_next_one_and_no_other()
    {
        Task<ReadResult> waiting = ReadAsync();
        _connection.Input.CancelPendingRead();
        Assert.True((await waiting).IsCanceled);
        _connection.Input.CancelPendingRead();
        Assert.True((await ReadAsync()).IsCanceled);
        await SendAsync("hello");
        ReadResult read = await ReadAsync();
        Assert.False(read.IsCanceled);
        Assert.Equal("hello", Text(read));
    }

    [Fact]
    public async Task What_comes_after_a_cancelled_read_is_in_the_next_one_behind_what_was_kept()
    {
        await SendAsync("first ");
        ReadResult read = await ReadAsync();
        _connection.Input.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        Task<ReadResult> waiting = ReadAsync();
        _connection.Input.CancelPendingRead();
        read = await waiting;
        Assert.True(read.IsCanceled);
        Assert.Equal("first ", Text(read));
        _connection.Input.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        await SendAsync("second");
        read = await ReadAsync();
        Assert.Equal("first second", Text(read));
        _connection.Input.AdvanceTo(read.Buffer.End);
        await SendAsync("third");
        Assert.Equal("third", Text(await ReadAsync()));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task However_octets_and_cancels_meet_none_is_lost(bool byToken)
    {
        const int octets = 3000;
        Task sending = Task.Run(async () =>
        {
            for (int i = 0; i < octets; i++)
            {
                await _client.SendAsync(new[] { (byte)i }, SocketFlags.None);
                if (i % 8 == 0)
                    await Task.Yield();
            }
        }, TestContext.Current.CancellationToken);
        var received = new List<byte>();
        for (int reads = 0; received.Count < octets; reads++)
        {
            using var cancel = new CancellationTokenSource();
            ValueTask<ReadResult> reading = _connection.Input.ReadAsync(byToken ? cancel.Token : CancellationToken.None);
            // A cancel that comes too late is for the next read: were there one for each, all would be cancelled.
            Task canceling = byToken ? Task.Run(cancel.Cancel, CancellationToken.None)
                : reads % 3 == 0 ? Task.Run(_connection.Input.CancelPendingRead, CancellationToken.None)
                : Task.CompletedTask;
            try
            {
                ReadResult read = await reading.AsTask().WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
                received.AddRange(read.Buffer.ToArray());
                _connection.Input.AdvanceTo(read.Buffer.End);
            }
            catch (OperationCanceledException) when (byToken)
            {
                // As asked for.
            }
            await canceling;
        }
        await sending;
        Assert.Equal(Enumerable.Range(0, octets).Select(i => (byte)i), received);
        // No token is left over; a cancel may be.
        await SendAsync("end");
        ReadResult last = await ReadAsync();
        if (!byToken && last.IsCanceled)
        {
            _connection.Input.AdvanceTo(last.Buffer.Start);
            last = await ReadAsync();
        }
        Assert.False(last.IsCanceled);
        Assert.Equal("end", Text(last));
    }

    [Fact]
    public async Task A_token_cancels_a_read_and_the_next_one_is_another()
    {
        using var limit = new CancellationTokenSource();
        ValueTask<ReadResult> waiting = _connection.Input.ReadAsync(limit.Token);
        await limit.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await waiting);
        await SendAsync("hello");
        Assert.Equal("hello", Text(await ReadAsync()));
    }

    [Fact]
    public async Task Trying_to_read_takes_what_has_arrived_and_waits_for_nothing()
    {
        Assert.False(_connection.Input.TryRead(out _));
        await SendAsync("plain");
        ReadResult read = default;
        for (int i = 0; i < 100 && !_connection.Input.TryRead(out read); i++)
            await Task.Delay(20, TestContext.Current.CancellationToken);
        Assert.Equal("plain", Text(read));
    }

    [Fact]
    public async Task A_client_that_resets_the_connection_ends_reading_with_an_error_and_sending_without()
    {
        _client.LingerState = new LingerOption(enable: true, seconds: 0);
        _client.Close();
        await Assert.ThrowsAsync<ConnectionResetException>(ReadAsync);
        _connection.Output.Write("250 ok\r\n"u8);
        Assert.True((await FlushAsync()).IsCompleted);
    }

    [Fact]
    public async Task A_flush_waits_for_a_client_that_takes_nothing_until_it_is_cancelled()
    {
        byte[] much = new byte[16 << 20];
        ValueTask<FlushResult> flushing = _connection.Output.WriteAsync(much, TestContext.Current.CancellationToken);
        await Task.Delay(100, TestContext.Current.CancellationToken);
        Assert.False(flushing.IsCompleted);
        _connection.Output.CancelPendingFlush();
        Assert.True((await flushing).IsCanceled);
    }

    [Fact]
    public async Task The_last_reply_arrives_though_the_client_has_sent_more_than_was_read()
    {
        await SendAsync(new string('x', 50_000));
        await ReadAsync();
        _connection.Output.Write("221 bye\r\n"u8);
        await FlushAsync();
        await Task.Delay(100, TestContext.Current.CancellationToken); // all of it is here by now
        await _connection.DisposeAsync();
        byte[] reply = new byte[100];
        int length = await _client.ReceiveAsync(reply, SocketFlags.None, TestContext.Current.CancellationToken);
        Assert.Equal("221 bye\r\n", Encoding.ASCII.GetString(reply, 0, length));
        Assert.Equal(0, await _client.ReceiveAsync(reply, SocketFlags.None, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_cancelled_read_keeps_no_buffer_after_the_end()
    {
        const int connections = 2100; // more than there are large buffers
        var buffers = new ReceiveBuffers();
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.8"), 0));
        listener.Listen();
        for (int i = 0; i < connections; i++)
        {
            using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await client.ConnectAsync(listener.LocalEndPoint!, TestContext.Current.CancellationToken);
            var connection = new ClientSocket(await listener.AcceptAsync(TestContext.Current.CancellationToken), buffers);
            ValueTask<ReadResult> waiting = connection.Input.ReadAsync(CancellationToken.None);
            connection.Input.CancelPendingRead();
            Assert.True((await waiting).IsCanceled);
            if (i % 2 == 0)
                await client.SendAsync(new byte[10], SocketFlags.None, TestContext.Current.CancellationToken);
            client.LingerState = new LingerOption(enable: true, seconds: 0); // ports would wait for a minute
            await connection.DisposeAsync();
            await connection.Input.CompleteAsync();
        }
        Assert.True(SpinWait.SpinUntil(() => IsLarge(buffers), TimeSpan.FromSeconds(10)));
    }

    private static bool IsLarge(ReceiveBuffers buffers)
    {
        byte[] block = buffers.Rent();
        buffers.Return(block);
        return block.Length == ReceiveBuffers.Large;
    }

    [Fact]
    public async Task It_closes_at_once_though_something_has_come_after_a_read_was_cancelled()
    {
        Task<ReadResult> waiting = ReadAsync();
        _connection.Input.CancelPendingRead();
        await waiting;
        await SendAsync("late");
        await Task.Run(async () => await _connection.DisposeAsync(), TestContext.Current.CancellationToken)
            .WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        await _connection.DisposeAsync();
        _client.Dispose();
    }

    private async Task SendAsync(string text) => await _client.SendAsync(Encoding.ASCII.GetBytes(text), SocketFlags.None, TestContext.Current.CancellationToken);

    private Task<ReadResult> ReadAsync() => _connection.Input.ReadAsync(CancellationToken.None).AsTask().WaitAsync(TimeSpan.FromSeconds(10));

    private Task<FlushResult> FlushAsync() => _connection.Output.FlushAsync(CancellationToken.None).AsTask().WaitAsync(TimeSpan.FromSeconds(10));

    private static string Text(ReadResult read) => Encoding.ASCII.GetString(read.Buffer);
}
