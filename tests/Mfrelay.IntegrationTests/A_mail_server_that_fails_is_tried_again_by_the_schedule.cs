using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_mail_server_that_fails_is_tried_again_by_the_schedule : IAsyncDisposable
{
    private readonly Sink _sink = new(started: false);
    private readonly Relay _relay;

    public A_mail_server_that_fails_is_tried_again_by_the_schedule() => _relay = new Relay(_sink.EndPoint);

    [Fact]
    public async Task When_nobody_listens_the_message_stays_until_somebody_does()
    {
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("patient");
        await client.WaitForLineAsync($"INFO_b103 {id} ");
        await Task.Delay(1500, TestContext.Current.CancellationToken);
        Assert.InRange(client.Count($"INFO_b101 {id} "), 1, 3);

        _sink.Start();
        await _sink.WaitForAsync(1, seconds: 5);
        await client.WaitForLineAsync($"INFO_b102 {id} ");
        Assert.Equal("patient", Mail.TextOf(_sink.Mail[0]));
    }

    [Fact]
    public async Task When_it_puts_off_one_of_two_recipients_the_other_gets_the_message_once()
    {
        _sink.Start();
        int refusals = 0;
        _sink.Script = line => Task.FromResult(
            line.StartsWith("RCPT TO:<later@", StringComparison.Ordinal) && Interlocked.Increment(ref refusals) <= 2 ? "450 4.2.1 mailbox busy" : null);
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("half", "now@example.com", "later@example.com");

        await client.WaitForLineAsync($"INFO_b102 {id} .*to=<later@");
        Assert.Equal(["now@example.com"], _sink.Mail[0].To, StringComparer.Ordinal);
        Assert.Equal(["later@example.com"], _sink.Mail[1].To, StringComparer.Ordinal);
        Assert.Equal(2, _sink.Mail.Count);
        Assert.Equal(2, client.Count($"INFO_b103 {id} .*to=<later@example.com>.*450 4.2.1 mailbox busy"));
        Assert.Equal(0, client.Count($"INFO_b103 {id} .*to=<now@"));
    }

    [Fact]
    public async Task When_it_closes_in_the_middle_of_a_transaction()
    {
        _sink.Start();
        int dots = 0;
        _sink.Script = line => Task.FromResult(
            line is "." && Interlocked.Increment(ref dots) == 1 ? "421 4.3.2 going down" : null);
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("again");

        await client.WaitForLineAsync($"INFO_b103 {id} .*421 4.3.2 going down");
        await _sink.WaitForAsync(1);
    }

    [Fact]
    public async Task After_a_restart_of_the_client_the_schedule_goes_on()
    {
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("kept");
        await client.WaitForLineAsync($"INFO_b103 {id} ");
        await client.KillAsync();
        _sink.Start();
        await _relay.StartClientAsync();
        await _sink.WaitForAsync(1);
    }

    public async ValueTask DisposeAsync()
    {
        await _relay.DisposeAsync();
        _sink.Dispose();
    }
}
