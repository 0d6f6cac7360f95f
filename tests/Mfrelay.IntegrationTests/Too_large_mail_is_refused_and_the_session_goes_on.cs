using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Too_large_mail_is_refused_and_the_session_goes_on : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly Relay _relay;

    public Too_large_mail_is_refused_and_the_session_goes_on() => _relay = new Relay(_sink.EndPoint, server: "max_message_size = \"500KB\"");

    [Fact]
    public async Task At_MAIL_when_the_sender_declares_it()
    {
        await _relay.StartServerAsync();
        using Sender sender = await _relay.ConnectAsync();
        Assert.Contains("SIZE 500000", await sender.HelloAsync(), StringComparison.Ordinal);
        Assert.StartsWith("552 5.3.4 ", await sender.SayAsync("MAIL FROM:<a@example.org> SIZE=500001"), StringComparison.Ordinal);
        Assert.StartsWith("250 2.1.0 ", await sender.SayAsync("MAIL FROM:<a@example.org> SIZE=500000"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task After_the_dot_when_it_turns_out()
    {
        await _relay.StartServerAsync();
        await _relay.StartClientAsync();
        using Sender sender = await _relay.ConnectAsync();
        await sender.HelloAsync();
        Assert.StartsWith("552 5.3.4 ", await sender.MailAsync("a@example.org", ["b@example.com"], Mail.OfSize(2_000_000)), StringComparison.Ordinal);
        byte[] fits = Mail.OfSize(400_000);
        string id = Sender.QueueIdOf(await sender.MailAsync("a@example.org", ["b@example.com"], fits));
        await _sink.WaitForAsync(1);
        Mail.AssertCameThrough(fits, id, _sink.Mail[0]);
        Assert.Single(_sink.Mail);
        Assert.Empty(Directory.GetFiles(Path.Join(_relay.StateDirectory, "queue", "smtp"), "*.tmp"));
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }
}
