using System.Text;
using Xunit;

namespace Mfrelay.IntegrationTests;

/// <summary>Mail data for tests, and what must have become of it.</summary>
internal static class Mail
{
    public static byte[] Text(string text) => Encoding.UTF8.GetBytes($"Subject: {text}\r\n\r\n{text}\r\n");

    /// <summary>Lines of 76 octets that differ from each other, some of which begin with a dot.</summary>
    public static byte[] OfSize(int octets)
    {
        var data = new MemoryStream(octets + 80);
        data.Write("Subject: large\r\n\r\n"u8);
        for (int line = 0; data.Length < octets; line++)
            data.Write(Encoding.ASCII.GetBytes($"{(line % 7 == 0 ? "." : "")}{line:D10} ".PadRight(76, (char)('a' + line % 26)) + "\r\n"));
        return data.ToArray();
    }

    /// <summary>The line that <see cref="Text"/> carries, from a message that arrived.</summary>
    public static string TextOf(Received received)
    {
        string text = Encoding.UTF8.GetString(received.Data);
        return text[(text.LastIndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..].TrimEnd();
    }

    /// <summary>The mail data that arrived is what was sent behind one Received field that names the queue id.</summary>
    public static void AssertCameThrough(byte[] sent, string queueId, Received received)
    {
        int trace = received.Data.Length - sent.Length;
        Assert.True(trace > 0, "shorter than what was sent");
        string header = Encoding.ASCII.GetString(received.Data, 0, trace);
        Assert.StartsWith("Received: from ", header, StringComparison.Ordinal);
        Assert.Contains(queueId, header, StringComparison.Ordinal);
        Assert.Single(header.Split("\r\n"), line => line.Length > 0 && line[0] is not (' ' or '\t'));
        Assert.True(received.Data.AsSpan(trace).SequenceEqual(sent), "not the octets that were sent");
    }
}
