using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class WakeSocketTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("mfrelay-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Many_wakes_wake_once_and_none_fails_without_a_listener()
    {
        using var waker = WakeSocket.To(_directory, WakeSocket.ClientName);
        waker.Wake();
        using (var listener = WakeSocket.Of(_directory, WakeSocket.ClientName))
        {
            for (int i = 0; i < 1000; i++)
                waker.Wake();
            await listener.WaitAsync(TestContext.Current.CancellationToken);
            ValueTask again = listener.WaitAsync(TestContext.Current.CancellationToken);
            Assert.False(again.IsCompleted);
            waker.Wake();
            await again.AsTask().WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        }
        waker.Wake();
    }

    [Fact]
    public void A_socket_file_of_an_earlier_run_is_replaced()
    {
        File.WriteAllText(Path.Combine(_directory, "client.sock"), "");
        using var listener = WakeSocket.Of(_directory, WakeSocket.ClientName);
        Assert.True(File.Exists(Path.Combine(_directory, "client.sock")));
    }
}
