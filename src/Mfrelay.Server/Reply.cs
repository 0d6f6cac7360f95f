using System.Text;

namespace Mfrelay.Server;

/// <summary>
/// What the server says: reply code (RFC 5321 4.2), enhanced status (RFC 3463; empty where RFC 2034 has none), text. A value, made
/// once where the text is fixed. Texts are ASCII and never repeat octets of the client.
/// </summary>
internal sealed class Reply
{
    private Reply(int code, string status, byte[] wire) => (Code, Status, Wire) = (code, status, wire);

    public int Code { get; }
    public string Status { get; }

    /// <summary>The setting of the limit that was reached, for the log.</summary>
    public string? Limit { get; private init; }

    /// <summary>The octets to send, CRLF included.</summary>
    public byte[] Wire { get; }

    public bool IsRefusal => Code >= 400;

    /// <summary>The same words, for another limit.</summary>
    public Reply At(string limit) => new(Code, Status, Wire) { Limit = limit };

    /// <param name="wire">The whole line.</param>
    public static Reply Of(int code, string status, byte[] wire) => new(code, status, wire);

    public static Reply Of(int code, string status, string text) =>
        new(code, status, Encoding.ASCII.GetBytes(status.Length == 0 ? $"{code} {text}\r\n" : $"{code} {status} {text}\r\n"));

    /// <summary>A reply of several lines (RFC 5321 4.2.1).</summary>
    public static Reply Lines(int code, params IReadOnlyList<string> lines)
    {
        var wire = new StringBuilder();
        for (int i = 0; i < lines.Count; i++)
            wire.Append(code).Append(i < lines.Count - 1 ? '-' : ' ').Append(lines[i]).Append("\r\n");
        return new Reply(code, "", Encoding.ASCII.GetBytes(wire.ToString()));
    }

    public override string ToString() => Encoding.ASCII.GetString(Wire).TrimEnd();
}
