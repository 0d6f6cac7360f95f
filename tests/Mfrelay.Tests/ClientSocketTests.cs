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
