using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Mfrelay.Tests;

/// <summary>
/// A DNS server on 127.0.0.1 with a zone of lines "name type ttl value": MX ("10 mx.example"), A, AAAA, CNAME (its target's records follow). A name
/// that no line has does not exist; "name FAIL" answers SERVFAIL, "name SILENT" nothing.
/// </summary>
internal sealed class DnsPeer : IDisposable
{
    private readonly UdpClient _socket = new(new IPEndPoint(IPAddress.Loopback, 0));
    private readonly string[][] _zone;
    private readonly Task _serving;

    public DnsPeer(string zone)
    {
        _zone = [.. zone.ReplaceLineEndings("\n").Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' ', 4, StringSplitOptions.TrimEntries))];
        _serving = ServeAsync();
    }

    public IPEndPoint Address => (IPEndPoint)_socket.Client.LocalEndPoint!;

    /// <summary>"MX b.example", in their order.</summary>
    public ConcurrentQueue<string> Questions { get; } = [];

    public void Dispose()
    {
        _socket.Dispose();
        try
        {
            _serving.Wait();
        }
        catch (AggregateException)
        {
        }
    }

    private async Task ServeAsync()
    {
        while (true)
        {
            UdpReceiveResult query = await _socket.ReceiveAsync();
            if (Answer(query.Buffer) is { } answer)
                await _socket.SendAsync(answer, query.RemoteEndPoint);
        }
    }

    private byte[]? Answer(byte[] query)
    {
        int at = 12;
        var labels = new List<string>();
        for (; query[at] > 0; at += query[at] + 1)
            labels.Add(Encoding.ASCII.GetString(query, at + 1, query[at]));
        string name = string.Join('.', labels).ToLowerInvariant();
        string type = BinaryPrimitives.ReadUInt16BigEndian(query.AsSpan(at + 1)) switch { 1 => "A", 15 => "MX", 28 => "AAAA", _ => "?" };
        Questions.Enqueue($"{type} {name}");
        string[][] own = [.. _zone.Where(line => line[0] == name)];
        if (own.Any(line => line[1] == "SILENT"))
            return null;
        string[][] cname = [.. own.Where(line => line[1] == "CNAME")];
        string[][] answers = [.. cname, .. _zone.Where(line => line[1] == type && (line[0] == name || cname.Any(alias => alias[3] == line[0])))];
        int code = own.Any(line => line[1] == "FAIL") ? 2 : own.Length == 0 ? 3 : 0;
        var reply = new List<byte>(query[..(at + 5)]);
        (reply[2], reply[3]) = (0x81, (byte)(0x80 | code));
        (reply[6], reply[7], reply[10], reply[11]) = (0, (byte)answers.Length, 0, 0);
        foreach (string[] record in answers)
        {
            byte[] value = record[1] switch
            {
                "MX" => [.. Short(int.Parse(record[3].Split(' ')[0])), .. NameOf(record[3].Split(' ')[1])],
                "CNAME" => NameOf(record[3]),
                _ => IPAddress.Parse(record[3]).GetAddressBytes(),
            };
            int number = record[1] switch { "A" => 1, "CNAME" => 5, "MX" => 15, _ => 28 };
            reply.AddRange([.. NameOf(record[0]), .. Short(number), .. Short(1), 0, 0, .. Short(int.Parse(record[2])), .. Short(value.Length), .. value]);
        }
        return [.. reply];
    }

    private static byte[] Short(int value) => [(byte)(value >> 8), (byte)value];

    private static byte[] NameOf(string name) =>
        [.. name.Split('.', StringSplitOptions.RemoveEmptyEntries).SelectMany(label => new[] { (byte)label.Length }.Concat(Encoding.ASCII.GetBytes(label))), 0];
}
