using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Idle_processes_use_no_processor_time
{
    [Fact]
    public async Task After_they_had_something_to_do()
    {
        using var sink = new Sink();
        await using var relay = new Relay(sink.EndPoint);
        Daemon server = await relay.StartServerAsync();
        Daemon client = await relay.StartClientAsync();
        await relay.SendAsync("one");
        await client.WaitForLineAsync("INFO_b102");
        await Task.Delay(4000);

        long serverBefore = server.ProcessorTicks;
        long clientBefore = client.ProcessorTicks;
        await Task.Delay(3000);
        Assert.InRange(server.ProcessorTicks - serverBefore, 0, 2);
        Assert.InRange(client.ProcessorTicks - clientBefore, 0, 2);
    }
}
