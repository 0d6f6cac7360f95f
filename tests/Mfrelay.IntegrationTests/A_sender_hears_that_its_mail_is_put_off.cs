using System.Text;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class A_sender_hears_that_its_mail_is_put_off
{
    [Fact]
    public async Task By_a_mail_server_that_answers_and_takes_the_mail_of_others()
    {
        using var sink = new Sink
        {
            Script = line => Task.FromResult(line.StartsWith("RCPT TO:<full@", StringComparison.Ordinal) ? "452 4.2.2 mailbox full" : null),
        };
        await using var relay = new Relay(sink.EndPoint, client: "delay_warning = \"2s\"");
        await relay.StartServerAsync();
        Daemon client = await relay.StartClientAsync();
        string id = await relay.SendAsync("put off", "full@example.com", "fine@example.com");
        await client.WaitForLineAsync($"INFO_b109 {id} .*kind=delayed");
        await sink.WaitForAsync(2);
        Received warning = sink.Mail.Single(mail => mail.From.Length == 0);
        Assert.Equal(["sender@example.org"], warning.To);
        string text = Encoding.UTF8.GetString(warning.Data);
        foreach (string part in new[] { "full@example.com", "Action: delayed", "Status: 4.2.2", "Will-Retry-Until: ", "452 4.2.2 mailbox full" })
            Assert.Contains(part, text, StringComparison.Ordinal);
        Assert.DoesNotContain("fine@example.com", text[..text.IndexOf("message/rfc822", StringComparison.Ordinal)], StringComparison.Ordinal);

        int attempts = client.Count($"INFO_b101 {id} ");
        await Task.Delay(2500, TestContext.Current.CancellationToken);
        Assert.True(client.Count($"INFO_b101 {id} ") > attempts);
        Assert.Equal(1, client.Count("INFO_b109"));
    }
}
