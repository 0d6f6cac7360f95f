using System.Globalization;
using Mfrelay.Client;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ReplyClassifierTests
{
    /// <summary>
    /// The policy, written down a second time. D deferred, F failed, + delivered; h host, m message, r recipient; "!": the message had its try.
    /// </summary>
    private static readonly string[] Table =
    [
        //          2xx   4xx   5xx   421   close timeout garbage toolong cancel
        "Connect    D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-r",
        "Greeting   D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-r",
        "Ehlo       D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-r",
        "Tls        D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-r",
        "Auth       D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-h   D-r",
        "Mail       D!h   D!m   F!m   D!h   D!h   D!h   D!h   D!h   D-r",
        "Rcpt       D!h   D!r   F!r   D!h   D!h   D!h   D!h   D!h   D-r",
        "Data       D!h   D!m   F!m   D!h   D!h   D!h   D!h   D!h   D-r",
        "Bdat       +!r   D!m   F!m   D!h   D!h   D!h   D!h   D!h   D-r",
        "FinalDot   +!r   D!m   F!m   D!h   D!h   D!h   D!h   D!h   D-r",
    ];

    public static TheoryData<string, string, string> Rows()
    {
        string[] endings = ["250", "450", "550", "421", "Closed", "TimedOut", "Garbage", "ReplyTooLong", "Cancelled"];
        var rows = new TheoryData<string, string, string>();
        foreach (string[] row in Table.Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)))
        {
            for (int i = 0; i < endings.Length; i++)
                rows.Add(row[0], endings[i], row[i + 1]);
        }
        return rows;
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void Every_stage_and_ending_has_its_verdict(string stage, string ending, string expected)
    {
        Stage at = Enum.Parse<Stage>(stage);
        Outcome outcome = int.TryParse(ending, CultureInfo.InvariantCulture, out int code)
            ? Outcome.Of(at, new Reply(code, null, "text"))
            : Outcome.Of(at, Enum.Parse<Failure>(ending));
        Verdict verdict = ReplyClassifier.Classify(outcome);
        Assert.Equal(expected, Short(verdict));
        Assert.Equal(verdict.Disposition switch { Disposition.Delivered => 2, Disposition.Deferred => 4, Disposition.Failed => 5 }, verdict.Status.Class);
    }

    [Fact]
    public void The_table_has_every_stage() => Assert.Equal(string.Join(' ', Enum.GetNames<Stage>()), string.Join(' ', Table.Select(line => line.Split(' ')[0])));

    [Theory]
    [InlineData(452, "4.5.3", "D!r", "4.5.3")]
    [InlineData(452, null, "D!r", "4.5.3")]
    [InlineData(552, "5.5.3", "D!r", "4.5.3")]
    [InlineData(552, null, "D!r", "4.5.3")]
    [InlineData(552, "5.2.2", "F!r", "5.2.2")]
    [InlineData(452, "4.2.2", "D!r", "4.2.2")]
    [InlineData(599, null, "F!r", "5.0.0")]
    public void Too_many_recipients_defers_the_recipient_alone(int code, string? status, string expected, string expectedStatus)
    {
        Verdict verdict = ReplyClassifier.Classify(Outcome.Of(Stage.Rcpt, new Reply(code, StatusOf(status), "")));
        Assert.Equal((expected, expectedStatus), (Short(verdict), verdict.Status.ToString()));
    }

    [Fact]
    public void A_552_to_the_mail_data_is_final() =>
        Assert.Equal("F!m", Short(ReplyClassifier.Classify(Outcome.Of(Stage.FinalDot, new Reply(552, null, "too large")))));

    [Theory]
    [InlineData("Mail", "UnsafeAddress", "F!m", "5.1.7")]
    [InlineData("Rcpt", "UnsafeAddress", "F!r", "5.1.3")]
    [InlineData("Mail", "NeedsSmtpUtf8", "F!m", "5.6.7")]
    [InlineData("Rcpt", "NeedsSmtpUtf8", "F!r", "5.6.7")]
    [InlineData("Mail", "TooLarge", "F!m", "5.3.4")]
    public void What_was_not_tried_has_failed_with_a_status_of_ours(string stage, string failure, string expected, string status)
    {
        Verdict verdict = ReplyClassifier.Classify(Outcome.Of(Enum.Parse<Stage>(stage), Enum.Parse<Failure>(failure)));
        Assert.Equal((expected, status), (Short(verdict), verdict.Status.ToString()));
    }

    [Theory]
    [InlineData("NoSuchDomain", "F!m", "5.1.2")]
    [InlineData("NullMx", "F!m", "5.1.10")]
    [InlineData("MxLoop", "F!m", "5.4.6")]
    [InlineData("NoMailServer", "F!m", "5.4.4")]
    [InlineData("DnsFailed", "D!m", "4.4.3")]
    [InlineData("TlsFailed", "D-h", "4.7.5")]
    [InlineData("AuthFailed", "D-h", "4.7.8")]
    public void What_DNS_says_is_about_the_message_and_TLS_and_login_about_the_host(string failure, string expected, string status)
    {
        Verdict verdict = ReplyClassifier.Classify(Outcome.Of(Stage.Connect, Enum.Parse<Failure>(failure)));
        Assert.Equal((expected, status), (Short(verdict), verdict.Status.ToString()));
    }

    [Fact]
    public void A_cancelled_wait_for_the_final_reply_counts_because_the_message_may_have_arrived() =>
        Assert.Equal("D!r", Short(ReplyClassifier.Classify(Outcome.Of(Stage.FinalDot, Failure.Cancelled, uncertain: true))));

    [Fact]
    public void A_status_of_the_host_is_made_temporary_when_it_refuses_us_for_good() =>
        Assert.Equal("4.7.1", ReplyClassifier.Classify(Outcome.Of(Stage.Greeting, new Reply(554, new EnhancedStatus(5, 7, 1), ""))).Status.ToString());

    private static EnhancedStatus? StatusOf(string? text) =>
        text is null ? null : new EnhancedStatus(text[0] - '0', text[2] - '0', text[4] - '0');

    private static string Short(Verdict verdict) =>
        (verdict.Disposition switch { Disposition.Delivered => "+", Disposition.Deferred => "D", Disposition.Failed => "F" })
        + (verdict.CountsAsAttempt ? "!" : "-")
        + (verdict.Scope switch { Scope.Host => "h", Scope.Message => "m", Scope.Recipient => "r" });
}
