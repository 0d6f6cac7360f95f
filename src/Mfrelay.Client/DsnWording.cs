using System.Globalization;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>The people's part of a report, and its subject.</summary>
internal sealed class DsnWording(Language language, string hostName)
{
    public string Subject(DsnAction worst) => worst switch
    {
        DsnAction.Failed => Say("メールを配送できませんでした", "Undelivered Mail Returned to Sender"),
        DsnAction.Delayed => Say("メールの配送が遅れています", "Delayed Mail (still being retried)"),
        DsnAction.Relayed => Say("メールを配送しました", "Successful Mail Delivery Report"),
    };

    /// <summary>Lines end in CRLF.</summary>
    public string Text(QueueId id, DsnOriginal original, IReadOnlyList<DsnRecipient> recipients)
    {
        var text = new StringBuilder();
        Line(text, Say($"これは {hostName} のメールシステムが自動的に送信したメールです。", $"This is the mail system at host {hostName}."));
        foreach (IGrouping<DsnAction, DsnRecipient> group in recipients.GroupBy(recipient => recipient.Action).OrderBy(group => group.Key))
        {
            Line(text, "");
            foreach (string line in Opening(group.Key).Split('\n'))
                Line(text, line);
            foreach (DsnRecipient recipient in group)
                Append(text, recipient);
        }
        Line(text, "");
        Line(text, Say("元のメール:", "The message:"));
        AppendField(text, original, "Date");
        AppendField(text, original, "Message-ID");
        Line(text, Say($"    キュー ID: {id}", $"    Queue id: {id}"));
        Line(text, original.IsWhole
            ? Say("元のメールはこのメールに添付されています。", "It is attached to this mail.")
            : Say("元のメールのヘッダーはこのメールに添付されています。", "Its header is attached to this mail."));
        return text.ToString();
    }

    private string Opening(DsnAction action) => action switch
    {
        DsnAction.Failed => Say(
            "次の宛先にメールを配送できませんでした。再送は行いません。\n詳しくは、この内容を添えて宛先の管理者にお問い合わせください。",
            "The message could not be delivered to the recipients below. It will not be\ntried again. For help, send this report to your postmaster."),
        DsnAction.Delayed => Say(
            "次の宛先にメールをまだ配送できていません。再送を続けています。\nこのメールは通知です。送信し直す必要はありません。",
            "The message has not been delivered to the recipients below yet. It is still\nbeing tried. This is a warning only: you need not send the message again."),
        DsnAction.Relayed => Say(
            "次の宛先のメールを、配送通知に対応していないメールサーバーへ渡しました。\nこれ以上の通知が届かないことがあります。",
            "The message was handed to a mail server that sends no delivery reports, for\nthe recipients below. You may hear no more of it."),
    };

    private void Append(StringBuilder text, DsnRecipient recipient)
    {
        Line(text, "");
        Line(text, $"<{recipient.Recipient.ForwardPath}>");
        if (recipient.IsExpired)
            Line(text, Say("    配送期限を過ぎました。", "    It was tried until its lifetime had passed."));
        if (recipient.Server is { } server)
            Line(text, Say("    メールサーバー: ", "    Mail server: ") + server.Address);
        if (!recipient.Outcome.IsOpen)
            Line(text, Say("    応答: ", "    Answer: ") + recipient.Said);
        if (recipient.LastAttempt != default)
            Line(text, Say("    最後の試行: ", "    Last attempt: ") + Time(recipient.LastAttempt));
        if (recipient.Action == DsnAction.Delayed && recipient.WillRetryUntil is { } until)
            Line(text, Say("    再送の期限: ", "    Tried until: ") + Time(until));
    }

    private static void AppendField(StringBuilder text, DsnOriginal original, string name)
    {
        if (original.Field(name) is { Length: > 0 and < 500 } value)
            Line(text, $"    {name}: {value}");
    }

    private static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);

    private static void Line(StringBuilder text, string line) => text.Append(line).Append("\r\n");

    private string Say(string japanese, string english) => language == Language.Ja ? japanese : english;
}
