using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_check_without_a_file_handle_is_not_the_last_one
{
    [Fact]
    public async Task It_failed_and_the_mail_server_is_reached_again_when_there_are_handles()
    {
        using var sink = new Sink();
        await using var relay = new Relay(sink.EndPoint, server: "check_interval = \"1s\"\nrecheck_interval = \"1s\"");
        Daemon server = await relay.StartServerAsync();
        // It has come to rest first: a build that compiles while it runs does not survive everything without a file handle.
        await server.WaitForLineAsync("INFO_c101");
        for (int i = 0; i < 100 && server.Count("INFO_a203") < 3; i++)
            await Task.Delay(100, TestContext.Current.CancellationToken);
        server.LimitOpenFiles(0);
        await server.WaitForLineAsync("WARN_a301");
        int checks = server.Count("INFO_a203");
        server.LimitOpenFiles(1024);
        for (int i = 0; i < 100 && server.Count("INFO_a203") == checks; i++)
            await Task.Delay(100, TestContext.Current.CancellationToken);
        Assert.True(server.Count("INFO_a203") > checks, $"ended: {server.HasExited}\n{string.Join('\n', server.Lines)}");
    }
}
