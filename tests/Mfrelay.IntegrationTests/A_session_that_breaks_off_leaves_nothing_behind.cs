using System.Text;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_session_that_breaks_off_leaves_nothing_behind : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly Relay _relay;

    public A_session_that_breaks_off_leaves_nothing_behind() => _relay = new Relay(_sink.EndPoint);

    [Theory]
    [InlineData("EHLO sender.exa")]
    [InlineData("EHLO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@exam")]
    [InlineData("EHLO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\nhalf")]
    [InlineData("EHLO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\nhalf\r\n.")]
    [InlineData("EHLO a.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nBDAT 1000 LAST\r\nSubject: x\r\n\r\nhalf\r\n")]
    public async Task Whether_it_ends_in_a_command_or_in_mail_data(string octets)
    {
        Daemon server = await _relay.StartServerAsync();
        await _relay.StartClientAsync();
        using (Sender sender = await _relay.ConnectAsync())
            await sender.WriteAsync(Encoding.ASCII.GetBytes(octets));
        await _relay.SendAsync("next");
        await _sink.WaitForAsync(1);
        await Task.Delay(200, TestContext.Current.CancellationToken);
        Assert.Equal("next", Mail.TextOf(Assert.Single(_sink.Mail)));
        Assert.Equal(1, server.Count("INFO_a101"));
        Assert.Equal(0, server.Count("WARN|ERROR"));
        if (octets.Contains("DATA", StringComparison.Ordinal) || octets.Contains("BDAT", StringComparison.Ordinal))
            Assert.Equal(1, server.Count("INFO_a103"));
    }

    [Fact]
    public async Task Whatever_garbage_it_sends()
    {
        Daemon server = await _relay.StartServerAsync();
        await _relay.StartClientAsync();
        var random = new Random(7);
        for (int i = 0; i < 20; i++)
        {
            using Sender sender = await _relay.ConnectAsync();
            byte[] garbage = new byte[random.Next(1, 100_000)];
            random.NextBytes(garbage);
            try
            {
                await sender.WriteAsync(garbage);
                await sender.WriteAsync("\r\n"u8.ToArray());
                Assert.Matches("^([45]..|$)", await sender.ReadReplyAsync());
            }
            catch (IOException)
            {
                // It has closed: too many errors.
            }
        }
        await _relay.SendAsync("next");
        await _sink.WaitForAsync(1);
        // Some of it is longer than a command may be.
        Assert.Equal(server.Count("WARN_a311 .* limit=server.max_command_line "), server.Count("WARN|ERROR"));
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }
}
