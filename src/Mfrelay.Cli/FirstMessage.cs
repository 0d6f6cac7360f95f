using System.Net;
using System.Security.Cryptography;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>The demonstration's own message: sent, looked for on disk and in the queue table, waited for at the other end.</summary>
internal sealed class FirstMessage(Narrator say, string stateDirectory, TimeProvider time)
{
    // A dot alone, dots at the start of lines, 8-bit text: what a relay that is not transparent breaks.
    private const string MailData =
        "From: Demo <sender@demo.example>\r\nTo: recipient@example.com\r\nSubject: mfrelay demo\r\nMIME-Version: 1.0\r\n"
        + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + "メールが届きました。\r\n.\r\n..two dots\r\n.one dot\r\nThe last line.\r\n";

    private readonly TaskCompletionSource<ArrivedMail> _arrived = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _delivered = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();
    private readonly List<string> _lines = [];
    private readonly List<ArrivedMail> _mails = [];
    private TimeSpan _began;

    /// <summary>Empty until it is accepted.</summary>
    public string Id { get; private set; } = "";

    public async Task SendAsync(IPEndPoint server, string reversePath, string forwardPath, CancellationToken cancel)
    {
        StateDirectory state = StateDirectory.Open(stateDirectory);
        using MailLog log = MailLog.ToAction(Language.En, (_, line) => say.Line($"demo   | {line}"));
        var routes = new RouteTable([]);
        using var store = new QueueStore(state, () => routes, log, time);
        // Once now, so that the look that counts is quick.
        await store.RunAsync(table => LookAt(table, default));

        _began = say.Elapsed;
        (SmtpDialog dialog, string greeting) = await SmtpDialog.ConnectAsync(server, cancel);
        using (dialog)
        {
            say.Step("connected", $"to {server}: {greeting}");
            string reply = await dialog.SendAsync("demo.example", reversePath, forwardPath, MailData, cancel);
            Learn(reply);
            say.Step("accepted", $"{Id} from <{reversePath}> to <{forwardPath}>, {Encoding.UTF8.GetByteCount(MailData)} octets: {reply}");
            LookAtDisk(state.Spool);
            await LookAtQueueAsync(store, cancel);
            await dialog.QuitAsync(cancel);
        }
    }

    /// <summary>How long it took from the connection to the later one of arrival and delivery. Throws IOException when something else arrived.</summary>
    public async Task<TimeSpan> WhenThroughAsync(CancellationToken cancel)
    {
        ArrivedMail mail = await _arrived.Task.WaitAsync(cancel);
        await _delivered.Task.WaitAsync(cancel);
        TimeSpan took = say.Elapsed - _began;
        string sent = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(MailData)));
        if (!string.Equals(mail.Sha256, sent, StringComparison.Ordinal))
            throw new IOException($"{Id}: what arrived is not what was sent, which has sha256 {sent}");
        say.Step("equal", $"{Id} sha256 of what was sent: {sent}");
        return took;
    }

    public void SeeLogLine(string line)
    {
        lock (_gate)
        {
            if (_delivered.Task.IsCompleted || !line.Contains($" {LogEvents.Delivered.Code} ", StringComparison.Ordinal))
                return;
            _lines.Add(line);
            Match();
        }
    }

    public void SeeArrival(ArrivedMail mail)
    {
        lock (_gate)
        {
            if (_arrived.Task.IsCompleted)
                return;
            _mails.Add(mail);
            Match();
        }
    }

    /// <summary>The reply's last word is the queue id.</summary>
    private void Learn(string reply)
    {
        lock (_gate)
        {
            Id = reply[(reply.LastIndexOf(' ') + 1)..];
            Match();
        }
    }

    // Under the lock. The other end may have the message before we have read the reply that tells its queue id.
    private void Match()
    {
        if (Id.Length == 0)
            return;
        if (_mails.Find(mail => string.Equals(mail.QueueId, Id, StringComparison.Ordinal)) is { } mine)
            _arrived.TrySetResult(mine);
        if (_lines.Exists(line => line.Contains($" {LogEvents.Delivered.Code} {Id} ", StringComparison.Ordinal)) && _delivered.TrySetResult())
            say.Step("delivered", $"{Id} says mf-smtp-client");
    }

    private void LookAtDisk(string spool)
    {
        foreach (FileInfo segment in new DirectoryInfo(spool).GetFiles("*.seg"))
            say.Step("on disk", $"{Id} in {segment.FullName}, which has {segment.Length} octets now");
    }

    /// <summary>The row is there for as long as delivery takes, which may be over already: then the mark tells that it was.</summary>
    private async Task LookAtQueueAsync(QueueStore store, CancellationToken cancel)
    {
        if (!QueueId.TryParse(Id, out QueueId id))
            throw new IOException($"no queue id in the reply: {Id}");
        while (true)
        {
            (Delivery? row, SpoolPosition mark) = await store.RunAsync(table => LookAt(table, id));
            if (row is not null)
                say.Step("queued", $"{Id} as row {row.Key} of mfrelay.db, route \"{row.Route}\", {row.Recipients.Count} recipient");
            else if (mark != default)
                say.Step("queued", $"{Id} and out of mfrelay.db again already; it holds the spool up to octet {mark.Offset}");
            if (row is not null || mark != default)
                return;
            await Task.Delay(TimeSpan.FromMilliseconds(10), time, cancel);
        }
    }

    private static (Delivery? Row, SpoolPosition Mark) LookAt(QueueTable table, QueueId id) =>
        (table.ReadAfter(0, 100).FirstOrDefault(row => row.Id == id), table.Mark(SpoolOwner.Server));
}
