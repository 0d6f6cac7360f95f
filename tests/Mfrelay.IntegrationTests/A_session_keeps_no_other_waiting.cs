using System.Net.Sockets;
using System.Text;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_session_keeps_no_other_waiting : IDisposable
{
    private readonly Sink _sink = new();

    [Fact]
    public async Task Whose_client_never_stops_sending()
    {
        await using var relay = new Relay(_sink.EndPoint, server: "max_message_size = \"64KiB\"")
        {
            Environment = { ["DOTNET_SYSTEM_NET_SOCKETS_INLINE_COMPLETIONS"] = "1" }, // as the daemons of a package have it
        };
        await relay.StartServerAsync();
        using var stop = new CancellationTokenSource();
        Task[] busy = [.. Enumerable.Range(0, 2 * Environment.ProcessorCount).Select(_ => Task.Run(() => DataAsync(relay, stop.Token)))];
        await Task.Delay(500, TestContext.Current.CancellationToken);
        for (int i = 0; i < 5; i++)
            await relay.SendAsync("between them").WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        Assert.DoesNotContain(busy, task => task.IsCompleted);
        await stop.CancelAsync();
        await Task.WhenAll(busy);
    }

    /// <summary>A mail server that took all mail at once is trusted to take the next as quickly: for some milliseconds.</summary>
    [Fact]
    public async Task With_a_mail_server_that_hangs_on_one_message_after_many_quick_ones()
    {
        var hanging = new TaskCompletionSource<string?>(TaskCreationOptions.RunContinuationsAsynchronously);
        var reached = new TaskCompletionSource();
        _sink.Script = line =>
        {
            if (!line.Contains("<hangs@", StringComparison.Ordinal))
                return Task.FromResult<string?>(null);
            reached.TrySetResult();
            return hanging.Task;
        };
        await using var relay = new Relay(_sink.EndPoint);
        await relay.StartServerAsync();
        await relay.StartClientAsync();
        for (int i = 0; i < 30; i++)
        {
            await relay.SendAsync("quick");
            await _sink.WaitForAsync(i + 1);
        }
        await relay.SendAsync("hangs", "hangs@example.com");
        await reached.Task.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        await relay.SendAsync("behind it");
        await _sink.WaitForAsync(31, seconds: 10);
        hanging.SetResult(null);
        await _sink.WaitForAsync(32, seconds: 10);
    }

    public void Dispose() => _sink.Dispose();

    /// <summary>Mail data without an end: what is too much is read and thrown away.</summary>
    private static async Task DataAsync(Relay relay, CancellationToken stop)
    {
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(relay.EndPoint, CancellationToken.None);
        await socket.SendAsync("EHLO client.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"u8.ToArray(), SocketFlags.None, CancellationToken.None);
        byte[] data = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("as much as there is\r\n", 10_000)));
        try
        {
            while (true)
                await socket.SendAsync(data, SocketFlags.None, stop);
        }
        catch (OperationCanceledException)
        {
            // The test is over.
        }
    }
}
