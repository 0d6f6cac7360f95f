using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Sessions_that_are_not_needed_close
{
    [Fact]
    public async Task Although_there_is_mail_more_often_than_the_idle_timeout()
    {
        const int Sessions = 5;
        int held = 0, ended = 0;
        var all = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var sink = new Sink
        {
            Script = async line =>
            {
                if (line is "." && Interlocked.Increment(ref held) == Sessions)
                    all.SetResult();
                if (line is ".")
                    await all.Task;
                else if (line is "QUIT" && all.Task.IsCompleted)
                    Interlocked.Increment(ref ended);
                return null;
            },
        };
        await using var relay = new Relay(sink.EndPoint); // idle_timeout = "1s"
        await relay.StartServerAsync();
        await relay.StartClientAsync();
        for (int i = 0; i < Sessions; i++)
            await relay.SendAsync($"at once {i}");
        await sink.WaitForAsync(Sessions);
        int sent = Sessions;
        for (int i = 0; i < 100 && Volatile.Read(ref ended) < Sessions - 1; i++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(200), TestContext.Current.CancellationToken);
            await relay.SendAsync($"one by one {sent++}");
        }
        Assert.Equal(Sessions - 1, Volatile.Read(ref ended));
        Assert.InRange(sent, Sessions + 3, Sessions + 40);
        await sink.WaitForAsync(sent);
    }
}
