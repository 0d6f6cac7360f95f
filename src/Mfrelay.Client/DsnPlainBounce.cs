using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// The bounce that parsers of the old gateway's bounces read: plain text, per recipient its address alone on a line, what the mail server said
/// and the verb that it refused; then what tells which message it was. For failures alone: a warning in this form would be counted as a failure.
/// </summary>
internal static class DsnPlainBounce
{
    public const string Subject = "failure notice";
    public const string Mailer = "m-FILTER";

    private static readonly string[] Fields = ["From", "To", "Subject", "Date", "Message-ID"];

    public static string Text(QueueId id, DsnOriginal original, IReadOnlyList<DsnRecipient> recipients, Language language)
    {
        var text = new StringBuilder();
        foreach (string line in language == Language.Ja ? Japanese : English)
            Line(text, line);
        foreach (DsnRecipient recipient in recipients)
        {
            Line(text, "");
            Line(text, recipient.Recipient.ForwardPath);
            Line(text, "");
            Line(text, "-------server message");
            Line(text, recipient.Said);
            Line(text, "");
            Line(text, "-------SMTP command");
            Line(text, VerbOf(recipient.Outcome));
        }
        Line(text, "");
        Line(text, "-------original mail info");
        foreach (string name in Fields)
        {
            if (original.Field(name) is { Length: > 0 } value)
                Line(text, $"{name}: {value}");
        }
        Line(text, $"Queue-ID: {id}");
        return text.ToString();
    }

    private static readonly string[] Japanese =
    [
        "このメールはメールシステムが自動的に送信しています。",
        "メールサーバーとの通信中、下記の理由により",
        "このメールは送信できませんでした。",
        "",
        "以下のメールアドレスへの送信に失敗しました。",
    ];

    private static readonly string[] English =
    [
        "This mail was sent by the mail system.",
        "Your message could not be sent to the addresses below.",
    ];

    /// <summary>Four letters; what comes before any command is CONN.</summary>
    private static string VerbOf(Outcome outcome) => outcome.Stage switch
    {
        Stage.Connect or Stage.Greeting or Stage.Tls => "CONN",
        Stage.Ehlo => "EHLO",
        Stage.Auth => "AUTH",
        Stage.Mail => "MAIL",
        Stage.Rcpt => "RCPT",
        Stage.Data or Stage.FinalDot => "DATA",
        Stage.Bdat => "BDAT",
    };

    private static void Line(StringBuilder text, string line) => text.Append(line).Append("\r\n");
}
