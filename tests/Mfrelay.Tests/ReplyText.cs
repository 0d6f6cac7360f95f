using System.Text;

namespace Mfrelay.Tests;

/// <summary>Reads replies for the SMTP clients of the tests. Compiled into each test program that has one.</summary>
internal static class ReplyText
{
    /// <summary>One reply, its lines joined by LF; "" at the end of the connection.</summary>
    /// <param name="limit">For each line.</param>
    public static async Task<string> ReadAsync(StreamReader reader, TimeSpan limit)
    {
        var reply = new StringBuilder();
        while (await reader.ReadLineAsync().WaitAsync(limit) is { } line)
        {
            reply.Append(line);
            if (line.Length < 4 || line[3] != '-')
                break;
            reply.Append('\n');
        }
        return reply.ToString();
    }
}
