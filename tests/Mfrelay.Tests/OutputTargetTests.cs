using System.Globalization;
using System.Text;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class OutputTargetTests
{
    private const int Lines = 3000;

    [Fact]
    public void Each_line_begins_with_the_time_at_which_it_was_logged()
    {
        DateTimeOffset before = DateTimeOffset.Now.AddMilliseconds(-100); // NLog's clock ticks more slowly
        string[] lines = Written(withPriority: false);
        Assert.Equal(Lines, lines.Length);
        DateTimeOffset last = before;
        for (int i = 0; i < Lines; i++)
        {
            (string time, string text) = (lines[i][..29], lines[i][29..]);
            DateTimeOffset at = DateTimeOffset.ParseExact(time, "yyyy-MM-ddTHH:mm:ss.fffzzz", CultureInfo.InvariantCulture);
            Assert.InRange(at, last, DateTimeOffset.Now);
            last = at;
            Assert.Equal($" {TextOf(i)}", text);
        }
    }

    [Fact]
    public void Or_with_its_priority_where_systemd_reads()
    {
        string[] lines = Written(withPriority: true);
        Assert.Equal($"<6>{TextOf(0)}", lines[0]);
        Assert.Equal($"<4>{TextOf(1)}", lines[1]);
        Assert.Equal($"<3>{TextOf(2)}", lines[2]);
    }

    private static string[] Written(bool withPriority)
    {
        using var output = new MemoryStream();
        using (MailLog log = MailLog.ToOutput(output, withPriority, Language.En))
        {
            for (int i = 0; i < Lines; i++)
                Log(log, i);
        }
        return Encoding.UTF8.GetString(output.ToArray()).TrimEnd('\n').Split('\n');
    }

    private static void Log(MailLog log, int i)
    {
        if (i % 3 == 0)
            log.Started(NameOf(i));
        else if (i % 3 == 1)
            log.CertificateBad("cert.pem", NameOf(i));
        else
            log.Unexpected("test", new InvalidOperationException(NameOf(i)));
    }

    private static string TextOf(int i) => (i % 3) switch
    {
        0 => $"INFO_c101 {NameOf(i)} started.",
        1 => $"WARN_a316 The certificate cannot be loaded; an older one stays in use if there is one. cert.pem ({NameOf(i)})",
        _ => $"ERROR_c401 Unexpected error. test: System.InvalidOperationException: {NameOf(i)}",
    };

    /// <summary>Some much longer than the buffer, and not in ASCII.</summary>
    private static string NameOf(int i) => $"{i} メール {new string('x', i % 1000 == 999 ? 100_000 : i % 50)}";
}
