using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class LeaseTests : IDisposable
{
    private readonly State _state = new();

    public void Dispose() => _state.Dispose();

    [Fact]
    public async Task Two_holders_take_turns()
    {
        using Lease a = new(_state.Directory.Root), b = new(_state.Directory.Root);
        var turns = new List<char>();
        int inside = 0;
        void Work(Lease lease, char name)
        {
            for (int i = 0; i < 50; i++)
            {
                lease.Enter();
                Assert.Equal(1, Interlocked.Increment(ref inside));
                turns.Add(name);
                // Until the other one stands there, as in a busy relay.
                SpinWait.SpinUntil(lease.Wanted, TimeSpan.FromMilliseconds(50));
                Interlocked.Decrement(ref inside);
                lease.Leave();
            }
        }
        await Task.WhenAll(
            Task.Factory.StartNew(() => Work(a, 'a'), TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default),
            Task.Factory.StartNew(() => Work(b, 'b'), TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default));
        int alternations = turns.Zip(turns.Skip(1)).Count(pair => pair.First != pair.Second);
        Assert.InRange(alternations, 90, 99);
    }

    [Fact]
    public async Task The_holder_sees_that_another_waits_and_a_holder_that_is_gone_frees_the_lease()
    {
        using Lease waiter = new(_state.Directory.Root);
        var holder = new Lease(_state.Directory.Root);
        holder.Enter();
        Assert.False(holder.Wanted());
        Task waiting = Task.Run(waiter.Enter, TestContext.Current.CancellationToken);
        Assert.True(SpinWait.SpinUntil(holder.Wanted, TimeSpan.FromSeconds(10)));
        Assert.False(waiting.IsCompleted);
        holder.Dispose();
        await waiting.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        Assert.False(waiter.Wanted());
    }
}
