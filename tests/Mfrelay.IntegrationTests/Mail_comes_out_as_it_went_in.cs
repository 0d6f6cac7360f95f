using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class Mail_comes_out_as_it_went_in : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private readonly Relay _relay;

    public Mail_comes_out_as_it_went_in() => _relay = new Relay(_sink.EndPoint);

    [Fact]
    public async Task A_message_arrives_byte_for_byte_and_its_queue_id_is_in_the_log()
    {
        Daemon server = await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        byte[] sent = [.. "Subject: bytes\r\n\r\n.\r\n..\r\n.dot\r\n"u8, 0xE9, 0xFF, 0x80, .. "\r\n\r\n \t\r\n"u8];
        string id = await SendAsync(["one@example.com"], sent);

        await _sink.WaitForAsync(1);
        Received received = _sink.Mail[0];
        Mail.AssertCameThrough(sent, id, received);
        Assert.Equal("sender@example.org", received.From);
        Assert.Equal(["one@example.com"], received.To);

        Assert.Contains("from=<sender@example.org> to=<one@example.com>", await server.WaitForLineAsync($"INFO_a101 {id} "), StringComparison.Ordinal);
        Assert.Contains(" sent=1 deferred=0 failed=0 ", await client.WaitForLineAsync($"INFO_b101 {id} "), StringComparison.Ordinal);
        Assert.Contains("to=<one@example.com>", await client.WaitForLineAsync($"INFO_b102 {id} "), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Five_megabytes_arrive_byte_for_byte()
    {
        await _relay.StartServerAsync();
        await _relay.StartClientAsync();
        byte[] sent = Mail.OfSize(5_000_000);
        string id = await SendAsync(["one@example.com"], sent);

        await _sink.WaitForAsync(1, seconds: 30);
        Mail.AssertCameThrough(sent, id, _sink.Mail[0]);
    }

    [Fact]
    public async Task Each_of_200_recipients_gets_the_message_once()
    {
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string[] recipients = [.. Enumerable.Range(0, 200).Select(i => $"r{i}@d{i % 3}.example.com")];
        byte[] sent = Mail.Text("many");
        string id = await SendAsync(recipients, sent);

        await client.WaitForLineAsync($"INFO_b102 {id} .*to=<r199@");
        Assert.All(_sink.Mail, received => Mail.AssertCameThrough(sent, id, received));
        Assert.Equal(recipients.Order(StringComparer.Ordinal), _sink.Mail.SelectMany(received => received.To).Order(StringComparer.Ordinal));
        Assert.Equal(200, client.Count($"INFO_b102 {id} "));
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }

    private async Task<string> SendAsync(string[] recipients, byte[] data)
    {
        using Sender sender = await _relay.ConnectAsync();
        await sender.HelloAsync();
        return Sender.QueueIdOf(await sender.MailAsync("sender@example.org", recipients, data));
    }
}
