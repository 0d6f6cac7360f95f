using System.Text;
using MimeKit;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed class What_is_refused_for_good_goes_back_to_the_sender : IAsyncDisposable
{
    private readonly Sink _sink = new();
    private Relay? _relay;

    [Fact]
    public async Task As_a_report_that_names_the_recipient_and_the_reply()
    {
        _relay = new Relay(_sink.EndPoint);
        Received bounce = await RefusedAsync();

        using var stream = new MemoryStream(bounce.Data);
        MimeMessage report = await MimeMessage.LoadAsync(stream, TestContext.Current.CancellationToken);
        Assert.Equal("MAILER-DAEMON@relay.example", report.From.Mailboxes.Single().Address);
        var parts = Assert.IsType<MultipartReport>(report.Body);
        MessageDeliveryStatus status = parts.OfType<MessageDeliveryStatus>().Single();
        HeaderList recipient = status.StatusGroups[1];
        Assert.Equal(("rfc822;gone@example.com", "failed", "5.1.1"), (recipient["Final-Recipient"]!.Replace(" ", "", StringComparison.Ordinal), recipient["Action"], recipient["Status"]));
        Assert.Contains("550 5.1.1 no such user", recipient["Diagnostic-Code"], StringComparison.Ordinal);
        Assert.Equal("refused", parts.OfType<MessagePart>().Single().Message!.TextBody!.Trim());
    }

    [Fact]
    public async Task As_plain_text_with_bounce_format_m_filter()
    {
        _relay = new Relay(_sink.EndPoint, client: "bounce_format = \"m-filter\"");
        string text = Encoding.UTF8.GetString((await RefusedAsync()).Data);
        Assert.Contains("\r\nSubject: failure notice\r\n", text, StringComparison.Ordinal);
        Assert.Contains("\r\nX-Mailer: m-FILTER\r\n", text, StringComparison.Ordinal);
        int[] blocks = [.. new[] { "\r\n-------server message", "\r\n-------SMTP command", "\r\n-------original mail info" }
            .Select(block => text.IndexOf(block, StringComparison.Ordinal))];
        Assert.All(blocks, at => Assert.True(at > 0));
        Assert.Equal(blocks.Order(), blocks);
    }

    [Fact]
    public async Task The_other_recipients_get_the_message_and_nothing_stays_in_the_queue()
    {
        _relay = new Relay(_sink.EndPoint);
        await RefusedAsync("fine@example.com");
        Assert.Contains(_sink.Mail, mail => mail.To.SequenceEqual(["fine@example.com"]) && mail.From.Length > 0);
        await _relay.StopAllAsync();
        Assert.Empty(Directory.GetFiles(Path.Join(_relay.StateDirectory, "queue", "smtp"), "*.dat"));
    }

    [Fact]
    public async Task A_bounce_that_is_refused_is_dropped_with_a_line()
    {
        _relay = new Relay(_sink.EndPoint);
        _sink.Script = line => Task.FromResult(line.StartsWith("RCPT", StringComparison.Ordinal) ? "550 5.1.1 no such user" : null);
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        await _relay.SendAsync("refused");
        await client.WaitForLineAsync("WARN_b110 .* to=<sender@example.org> status=5.1.1");
        Assert.Empty(_sink.Mail);
    }

    [Fact]
    public async Task A_bounce_is_on_disk_before_its_message_is_settled()
    {
        _relay = new Relay(_sink.EndPoint);
        _sink.Script = Refuse;
        await _relay.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("refused", "gone@example.com");
        await client.WaitForLineAsync($"INFO_b109 {id} ");
        await client.KillAsync();
        client = await _relay.StartClientAsync();
        await _sink.WaitForAsync(1);
        Assert.All(_sink.Mail, mail => Assert.Equal("", mail.From));
    }

    private static Task<string?> Refuse(string line) =>
        Task.FromResult(line.StartsWith("RCPT TO:<gone@", StringComparison.Ordinal) ? "550 5.1.1 no such user" : null);

    private async Task<Received> RefusedAsync(params string[] others)
    {
        _sink.Script = Refuse;
        await _relay!.StartServerAsync();
        Daemon client = await _relay.StartClientAsync();
        string id = await _relay.SendAsync("refused", [.. others, "gone@example.com"]);
        await client.WaitForLineAsync($"WARN_b108 {id} .*status=5.1.1");
        await _sink.WaitForAsync(1 + others.Length);
        Received bounce = _sink.Mail.Single(mail => mail.From.Length == 0);
        Assert.Equal(["sender@example.org"], bounce.To);
        return bounce;
    }

    public async ValueTask DisposeAsync()
    {
        if (_relay is not null)
            await _relay.DisposeAsync();
        _sink.Dispose();
    }
}
