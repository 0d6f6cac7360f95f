extern alias cli;

using System.Globalization;
using System.Text;
using System.Text.Json;
using cli::Mfrelay.Cli;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>"mfrelay trace" on event logs of the test.</summary>
public sealed class TraceCommandTests : IDisposable
{
    private static readonly QueueId First = IdAt(-180), Second = IdAt(-90), Bounce = new(IdAt(-85).Value | 1);

    private readonly CommandRun _run = new("");

    public TraceCommandTests() => Directory.CreateDirectory(Folder);

    private string Folder => Path.Join(_run.State, "log");

    [Fact]
    public void By_its_id_a_message_is_shown_from_the_connection_to_the_last_reply()
    {
        WriteStory();
        Assert.Equal(0, _run.Invoke("trace", First.ToString()));
        Assert.Equal(
            [
                $"TIME                     ID             EVENT      ADDRESS                             PEER            WHAT",
                $"2026-11-24 08:59:59.000  {First}  connected                                      192.0.2.1:4000  mail.example.org",
                $"2026-11-24 09:00:00.000  {First}  accepted   <a@example.org> -> <b@example.com>                  ESMTP size=100 message-id=<m1@example.org> delay=0.010",
                $"2026-11-24 09:00:01.000  {First}  deferred   <b@example.com>                     192.0.2.9:25    rcpt: 450 4.2.1 busy (delay=1.000 time=0.100) next=11-24 09:01:01",
                $"2026-11-24 09:01:01.000  {First}  delivered  <b@example.com>                     192.0.2.9:25    final dot: 250 2.0.0 Ok (delay=61.000 time=0.100)",
            ],
            _run.Lines);
    }

    [Theory]
    [InlineData("m1@example.org", 1)]
    [InlineData("<m1@example.org>", 1)]
    [InlineData("B@EXAMPLE.COM", 1)]
    [InlineData("a@example.org", 3)] // sender of both, recipient of the bounce
    [InlineData("unknown@example.com", 3)] // refused, failed, and its bounce
    public void It_is_found_by_Message_ID_and_address(string what, int messages)
    {
        WriteStory();
        Assert.Equal(0, _run.Invoke("trace", what, "--json"));
        Assert.Equal(messages, _run.Json().GetArrayLength());
    }

    [Theory]
    [InlineData("b@example")]
    [InlineData("m1")]
    [InlineData("250 2.0.0 Ok")]
    [InlineData("0000000000001")]
    public void What_is_only_a_part_of_a_value_or_another_field_is_not_found(string what)
    {
        WriteStory();
        Assert.Equal(1, _run.Invoke("trace", what));
        Assert.Equal($"mfrelay: nothing about {what}; searched: 2 files in {Folder}, trace-client-20261124.jsonl to trace-server-20261124.jsonl\n", _run.Error);
    }

    [Fact]
    public void A_bounce_leads_to_its_message_and_the_message_to_its_bounce()
    {
        WriteStory();
        foreach (string id in new[] { Second.ToString(), Bounce.ToString() })
        {
            Assert.Equal(0, _run.Invoke("trace", id, "--json"));
            Assert.Equal([Second.ToString(), Bounce.ToString()], _run.Json().EnumerateArray().Select(message => message.GetProperty("id").GetString()));
            Assert.Equal(["accepted", "notice", "failed"], Events(_run.Json()[0]));
            Assert.Equal(["delivered"], Events(_run.Json()[1]));
        }
    }

    [Fact]
    public void Since_leaves_out_what_ended_before_and_shows_the_whole_of_the_rest()
    {
        WriteStory();
        Assert.Equal(0, _run.Invoke("trace", "a@example.org", "--since", "2h", "--json"));
        Assert.Equal([Second.ToString(), Bounce.ToString()], _run.Json().EnumerateArray().Select(message => message.GetProperty("id").GetString()));
        Assert.Equal(1, _run.Invoke("trace", "b@example.com", "--since", "2026-11-24T09:30"));
        Assert.Equal(1, _run.Invoke("trace", "b@example.com", "--since", "1h"));
        Assert.NotEqual(0, _run.Invoke("trace", "b@example.com", "--since", "yesterday"));
        Assert.Contains("yesterday is no time", _run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_many_the_newest_are_shown()
    {
        WriteStory();
        Assert.Equal(0, _run.Invoke("trace", "a@example.org", "--limit", "1", "--json"));
        Assert.Contains("only the newest 1 messages", _run.Error, StringComparison.Ordinal);
        Assert.Equal(Bounce.ToString(), Assert.Single(_run.Json().EnumerateArray()).GetProperty("id").GetString());
    }

    [Fact]
    public void Without_a_log_it_says_where_it_looked()
    {
        Directory.Delete(Folder);
        Assert.Equal(1, _run.Invoke("trace", "a@example.org"));
        Assert.Equal($"mfrelay: nothing about a@example.org; there is no event log of that time in {Folder} (trace_days = 7)\n", _run.Error);
    }

    [Fact]
    public void What_others_sent_cannot_command_the_terminal_and_a_damaged_line_hides_no_other()
    {
        Write("server", "\n", "{\"time\":\n", Line(-60, First, "accepted", ",\"from\":\"evil@example.org\"").Replace("{", "[", StringComparison.Ordinal), Line(-59, First, "accepted", ""","from":"evil@example.org","to":["b@example.com"],"protocol":"\u001b]0;x","message_id":"\u009bx" """));
        Assert.Equal(0, _run.Invoke("trace", "evil@example.org"));
        Assert.DoesNotContain(_run.Output, c => char.IsControl(c) && c != '\n');
        Assert.Contains("?]0;x", _run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void In_japanese_headings_and_events_are_japanese()
    {
        WriteStory();
        _run.Environment["LANG"] = "ja_JP.UTF-8";
        Assert.Equal(0, _run.Invoke("trace", First.ToString()));
        Assert.Contains("送信完了", _run.Output, StringComparison.Ordinal);
        Assert.Equal(1, _run.Invoke("trace", "nobody@example.com"));
        Assert.Contains("見つかりません", _run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Lines_are_found_wherever_the_blocks_of_the_file_end()
    {
        // 20 MB in lines of all lengths, some longer than a block.
        var random = new Random(1);
        var expected = new List<string>();
        using (var file = new StreamWriter(Path.Join(Folder, "trace-server-20261124.jsonl"), append: false, new UTF8Encoding(false)))
        {
            for (int i = 0, length = 0; length < 20_000_000; i++)
            {
                QueueId id = new(First.Value + (2 * i));
                bool hit = i % 7 == 0;
                if (hit)
                    expected.Add(id.ToString());
                string to = string.Join("\",\"", Enumerable.Repeat("x@example.com", i % 1000 == 999 ? 400_000 : random.Next(1, 40)));
                string line = Line(-60, id, "accepted", $",\"from\":\"{(hit ? "Found@example.org" : "other@example.org")}\",\"to\":[\"{to}\"]");
                length += line.Length;
                file.Write(line);
            }
        }
        Assert.Equal(0, _run.Invoke("trace", "found@EXAMPLE.org", "--limit", "1000000", "--json"));
        Assert.Equal(expected, _run.Json().EnumerateArray().Select(message => message.GetProperty("id").GetString()!).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("", -1)]
    [InlineData("\"ab\"", 0)]
    [InlineData("\"aB", -1)]
    [InlineData("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"Ab\"", 39)]
    [InlineData("\"ax\"\"xb\"\"ab \"AB\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 12)]
    public void Octets_are_found_in_either_case(string text, int at) =>
        Assert.Equal(at, EventFiles.IndexOfAnyCase(Encoding.UTF8.GetBytes(text), EventFiles.Folded("\"ab\"")));

    public void Dispose() => _run.Dispose();

    private static IEnumerable<string?> Events(JsonElement message) => message.GetProperty("events").EnumerateArray().Select(one => one.GetProperty("event").GetString());

    private static QueueId IdAt(int minutes) => new((long)(CommandRun.Now.AddMinutes(minutes) - new DateTimeOffset(2024, 1, 1, 0, 0, 0, TimeSpan.Zero)).TotalMilliseconds << 14);

    private static string Line(double minutes, QueueId? id, string what, string fields) => string.Create(CultureInfo.InvariantCulture,
        $"{{\"time\":\"{CommandRun.Now.AddMinutes(minutes):yyyy-MM-ddTHH:mm:ss.fffzzz}\",\"id\":{(id is null ? "null" : $"\"{id}\"")},\"event\":\"{what}\"{fields}}}\n");

    private void Write(string process, params string[] lines) => File.AppendAllText(Path.Join(Folder, $"trace-{process}-20261124.jsonl"), string.Concat(lines));

    /// <summary>One message that was deferred and delivered, one that failed and came back, one recipient that was refused.</summary>
    private void WriteStory()
    {
        Write("server",
            Line(-180, First, "accepted", ""","connected":"2026-11-24T08:59:59.000+00:00","client":"192.0.2.1:4000","helo":"mail.example.org","protocol":"ESMTP","from":"a@example.org","to":["b@example.com"],"size":100,"message_id":"m1@example.org","delay":0.010"""),
            Line(-91, null, "refused", ""","client":"192.0.2.1:4001","from":"s@example.org","to":["unknown@example.com"],"stage":"RCPT","reply":"550 5.1.1 no","message_id":"" """),
            Line(-90, Second, "accepted", ""","client":"192.0.2.1:4002","from":"a@example.org","to":["unknown@example.com"],"size":100,"message_id":"m2@example.org","delay":0.010"""));
        const string Sent = ""","from":"a@example.org","to":"b@example.com","host":"192.0.2.9","port":25""";
        Write("client",
            Line(-180 + (1 / 60.0), First, "deferred", Sent + ""","stage":"rcpt","reply":"450 4.2.1 busy","delay":1.000,"seconds":0.100,"next":"2026-11-24T09:01:01.000+00:00" """),
            Line(-179 + (1 / 60.0), First, "delivered", Sent + ""","stage":"final dot","reply":"250 2.0.0 Ok","delay":61.000,"seconds":0.100"""),
            Line(-89, Second, "notice", $",\"notice\":\"{Bounce}\",\"to\":\"a@example.org\",\"kind\":\"failed\""),
            Line(-88.9, Second, "failed", ""","from":"a@example.org","to":"unknown@example.com","stage":"rcpt","reply":"550 5.1.1 no","delay":1.000,"seconds":0.100"""),
            Line(-88, Bounce, "delivered", ""","from":"","to":"a@example.org","stage":"final dot","reply":"250 ok","delay":1.000,"seconds":0.100"""));
    }
}
