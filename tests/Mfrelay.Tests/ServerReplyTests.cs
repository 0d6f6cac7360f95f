using System.Reflection;
using System.Text;
using Mfrelay.Core;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>The form of every reply that the server has (RFC 5321 4.2, 4.5.3.1.5; RFC 2034 4).</summary>
public sealed class ServerReplyTests
{
    private static readonly int[] WithoutStatus = [220, 250, 334, 354];

    private static IEnumerable<Reply> All() =>
    [
        .. typeof(Replies).GetFields(BindingFlags.Public | BindingFlags.Static).Select(field => field.GetValue(null)).OfType<Reply>(),
        Replies.ServiceNotAvailable(new string('x', 253)),
        Replies.Queued(new QueueId(long.MaxValue)),
        Replies.Greeting(new string('x', 253)),
        Replies.Helo(new string('x', 253)),
        Replies.Ehlo(new string('x', 253), long.MaxValue, startTls: true, auth: true, xclient: true),
    ];

    [Fact]
    public void Every_line_is_short_and_ascii_and_every_refusal_has_a_status_of_its_class()
    {
        Assert.True(All().Count() > 50);
        foreach (Reply reply in All())
        {
            string wire = Encoding.Latin1.GetString(reply.Wire);
            Assert.EndsWith("\r\n", wire, StringComparison.Ordinal);
            Assert.All(wire[..^2].Split("\r\n"), line =>
            {
                Assert.True(line.Length <= 510, line);
                Assert.All(line, c => Assert.InRange(c, ' ', '~'));
            });
            if (reply.Status.Length > 0)
                Assert.Equal(reply.Code / 100, reply.Status[0] - '0');
            else
                Assert.Contains(reply.Code, WithoutStatus);
        }
    }
}
