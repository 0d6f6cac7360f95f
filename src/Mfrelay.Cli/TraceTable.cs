using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>Messages with their events as one table: what was sent by others is shown without anything that could command a terminal.</summary>
internal static class TraceTable
{
    public static void Write(IReadOnlyList<TracedMessage> messages, Language language, TimeZoneInfo zone, TextWriter output)
    {
        TextTable table = language == Language.Ja
            ? new TextTable("時刻", "ID", "イベント", "アドレス", "相手", "内容")
            : new TextTable("TIME", "ID", "EVENT", "ADDRESS", "PEER", "WHAT");
        foreach ((int index, TracedMessage message) in messages.Index())
        {
            if (index > 0)
                table.Add("", "", "", "", "", "");
            foreach (TraceEvent one in message.Events)
            {
                if (one.What is "accepted" && one.Line.TryGetProperty("connected", out var connected) && connected.TryGetDateTimeOffset(out DateTimeOffset since))
                    Add(table, since, one, language.Say("接続", "connected"), "", one["client"], one["helo"], zone);
                Add(table, one.Time, one, Name(one.What, language), Addresses(one), Peer(one), What(one, zone), zone);
            }
        }
        table.Write(output);
    }

    private static void Add(TextTable table, DateTimeOffset time, TraceEvent one, string name, string address, string peer, string what, TimeZoneInfo zone) =>
        table.Add(Local(time, zone, "yyyy-MM-dd HH:mm:ss.fff"), one.Id ?? "-",
            new TextTable.Cell(name, one.What is "failed" or "expired" or "refused" or "dropped" or "unreadable"),
            EventLine.Printable(address), EventLine.Printable(peer), EventLine.Printable(what));

    private static string Addresses(TraceEvent one)
    {
        string[] to = [.. one.To];
        string shown = to.Length == 0 ? $"<{one["from"]}>" : to.Length == 1 ? $"<{to[0]}>" : $"<{to[0]}> +{to.Length - 1}";
        return one.What is "accepted" or "lost" ? $"<{one["from"]}> -> {shown}" : shown;
    }

    private static string Peer(TraceEvent one) => one["host"].Length > 0 ? MailServer.AddressOf(one["host"], int.TryParse(one["port"], CultureInfo.InvariantCulture, out int port) ? port : 0)
        : one.What is "accepted" ? "" : one["client"];

    private static string What(TraceEvent one, TimeZoneInfo zone) => one.What switch
    {
        "accepted" => string.Join(' ', new[]
        {
            one["protocol"], $"size={one["size"]}", one["user"].Length > 0 ? $"user={one["user"]}" : "", $"message-id=<{one["message_id"]}>", $"delay={one["delay"]}",
        }.Where(part => part.Length > 0)),
        "notice" => $"{one["kind"]}: {one.Notice}",
        _ => string.Concat(
            one["stage"].Length > 0 ? $"{one["stage"]}: " : "", one["reply"],
            one["delay"].Length > 0 ? $" (delay={one["delay"]} time={one["seconds"]})" : "",
            DateTimeOffset.TryParse(one["next"], CultureInfo.InvariantCulture, out DateTimeOffset next) ? $" next={Local(next, zone, "MM-dd HH:mm:ss")}" : ""),
    };

    private static string Local(DateTimeOffset time, TimeZoneInfo zone, string form) => TimeZoneInfo.ConvertTime(time, zone).ToString(form, CultureInfo.InvariantCulture);

    private static string Name(string what, Language language) => language == Language.En ? what.Replace('_', ' ') : what switch
    {
        "accepted" => "受付",
        "refused" => "拒否",
        "lost" => "切断",
        "delivered" => "送信完了",
        "deferred" => "延期",
        "uncertain" => "応答なし",
        "failed" => "失敗",
        "expired" => "期限切れ",
        "notice" => "通知",
        "notice_failed" => "通知失敗",
        "dropped" => "破棄",
        "unreadable" => "読出不可",
        "no_route" => "経路なし",
        "hold" => "保留",
        "requeue" => "再配送",
        "flush" => "即時送信",
        "bounce" => "返送",
        "delete" => "削除",
        _ => what,
    };
}
