using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Text;
using System.Text.Json;
using Mfrelay.Core;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Cli;

/// <summary>A line of an event log.</summary>
/// <param name="Process">"server" or "client": who wrote it.</param>
/// <param name="Id">Null before a message has one.</param>
internal sealed record TraceEvent(string Process, DateTimeOffset Time, string? Id, string What, JsonElement Line)
{
    /// <summary>The queue id of the bounce or warning that this message led to.</summary>
    public string? Notice => Line.TryGetProperty("notice", out JsonElement notice) ? notice.GetString() : null;

    /// <summary>A field as text; empty when it is not there.</summary>
    public string this[string name] =>
        !Line.TryGetProperty(name, out JsonElement value) ? "" : value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText();

    public IEnumerable<string> To => !Line.TryGetProperty("to", out JsonElement to) ? []
        : to.ValueKind == JsonValueKind.Array ? to.EnumerateArray().Select(one => one.GetString()!) : [to.GetString()!];

    /// <summary>Whether a mail server was tried, or why none could be.</summary>
    public bool IsAttempt => What is "delivered" or "deferred" or "uncertain" or "failed" or "expired" or "no_route" or "unreadable";

    /// <summary>Whether it is about this queue id, Message-ID or address.</summary>
    public bool IsAbout(string what) =>
        new[] { Id, Notice, this["message_id"], this["from"] }.Concat(To).Contains(what, StringComparer.OrdinalIgnoreCase);

    /// <summary>Null for a line that is none of ours, or was cut.</summary>
    public static TraceEvent? Parse(string process, ReadOnlySpan<byte> line)
    {
        try
        {
            var reader = new Utf8JsonReader(line);
            var element = JsonElement.ParseValue(ref reader);
            return new TraceEvent(process, element.GetProperty("time").GetDateTimeOffset(), element.GetProperty("id").GetString(),
                element.GetProperty("event").GetString()!, element);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return null;
        }
    }
}

/// <summary>
/// The event logs of both daemons as octets: blocks of the files are read by as many threads as there are processors, looked through for a
/// value without parsing, and only lines that have it are parsed.
/// </summary>
internal sealed class EventFiles
{
    private const int BlockSize = 4 << 20;

    /// <summary>How much is read at once behind a block, for the end of its last line.</summary>
    private const int Tail = 64 << 10;

    /// <summary>Where every line that has a queue id has it, as <see cref="EventLine"/> writes it: {"time":"TIME","id":"ID".</summary>
    private const int IdOffset = 9 + EventLine.TimeLength + 8;

    private readonly (string Path, DateOnly Day, string Process)[] _files;

    /// <exception cref="UnauthorizedAccessException">No right to read the directory.</exception>
    /// <exception cref="DirectoryNotFoundException">There is none.</exception>
    public EventFiles(string directory) => _files = [.. Of(directory, "server"), .. Of(directory, "client")];

    /// <summary>The names of the files that have something of this time or later.</summary>
    public IReadOnlyList<string> Names(DateTimeOffset since) => [.. From(since).Select(file => Path.GetFileName(file.Path)).Order(StringComparer.Ordinal)];

    /// <summary>Events since then about a queue id, a Message-ID or an address, in no order.</summary>
    public IReadOnlyCollection<TraceEvent> Find(string what, DateTimeOffset since)
    {
        byte[] needle = Folded($"\"{JsonEncodedText.Encode(what, EventLine.Encoder)}\"");
        return Scan(since, (lines, process, found) =>
        {
            for (int at; (at = IndexOfAnyCase(lines, needle)) >= 0;)
            {
                int begin = lines[..at].LastIndexOf((byte)'\n') + 1;
                int end = at + lines[at..].IndexOf((byte)'\n');
                if (TraceEvent.Parse(process, lines[begin..end]) is { } hit && hit.Time >= since && hit.IsAbout(what))
                    found.Add(hit);
                lines = lines[(end + 1)..];
            }
        });
    }

    /// <summary>All events of these queue ids, in no order.</summary>
    public IReadOnlyCollection<TraceEvent> Gather(IReadOnlyCollection<string> ids)
    {
        HashSet<(ulong, ulong)> keys = [.. ids.Select(id => KeyOf(Encoding.ASCII.GetBytes(id)))];
        // An id says when it was given out; a day less, for a clock that was set.
        DateTimeOffset since = ids.Min(id => QueueId.TryParse(id, out QueueId parsed) ? parsed.Time : DateTimeOffset.MinValue.AddDays(2)).AddDays(-1);
        return Scan(since, (lines, process, found) =>
        {
            for (int end; (end = lines.IndexOf((byte)'\n')) >= 0; lines = lines[(end + 1)..])
            {
                ReadOnlySpan<byte> line = lines[..end];
                if (line.Length > IdOffset + QueueId.Length && keys.Contains(KeyOf(line[IdOffset..])) && TraceEvent.Parse(process, line) is { } hit)
                    found.Add(hit);
            }
        });
    }

    private delegate void Look(ReadOnlySpan<byte> lines, string process, List<TraceEvent> found);

    private List<TraceEvent> Scan(DateTimeOffset since, Look look)
    {
        List<TraceEvent> all = [];
        var open = new List<SafeFileHandle>();
        try
        {
            var blocks = new List<(SafeFileHandle Handle, long Offset, string Process)>();
            foreach ((string path, _, string process) in From(since))
            {
                SafeFileHandle handle = Native.OpenToRead(path);
                open.Add(handle);
                for (long offset = 0, length = RandomAccess.GetLength(handle); offset < length; offset += BlockSize)
                    blocks.Add((handle, offset, process));
            }
            Parallel.ForEach(
                blocks,
                () => (Buffer: new byte[BlockSize + (2 * Tail)], Found: new List<TraceEvent>()),
                (block, _, mine) =>
                {
                    ReadOnlySpan<byte> lines = LinesOf(block.Handle, block.Offset, ref mine.Buffer);
                    look(lines, block.Process, mine.Found);
                    return mine;
                },
                mine =>
                {
                    lock (all)
                        all.AddRange(mine.Found);
                });
            return all;
        }
        finally
        {
            foreach (SafeFileHandle handle in open)
                handle.Dispose();
        }
    }

    /// <summary>The lines that begin in a block, each with its line feed; the last one may end in the next block.</summary>
    private static ReadOnlySpan<byte> LinesOf(SafeFileHandle file, long offset, ref byte[] buffer)
    {
        // One octet before it tells whether a line begins with the block.
        long from = Math.Max(0, offset - 1);
        int length = Fill(file, buffer.AsSpan(0, (int)(offset - from) + BlockSize), from);
        int begin = offset == 0 ? 0 : buffer.AsSpan(0, length).IndexOf((byte)'\n') + 1;
        if (offset > 0 && begin == 0)
            return default;
        int complete = buffer.AsSpan(0, length).LastIndexOf((byte)'\n') + 1;
        while (complete < length || complete == 0)
        {
            // A message may have thousands of recipients.
            if (buffer.Length - length < Tail)
                Array.Resize(ref buffer, buffer.Length * 2);
            int more = Fill(file, buffer.AsSpan(length, Tail), from + length);
            int end = buffer.AsSpan(length, more).IndexOf((byte)'\n');
            if (end >= 0)
                complete = length += end + 1;
            else if (more > 0)
                length += more;
            else
                break; // being written just now
        }
        return buffer.AsSpan(begin..Math.Max(begin, complete));
    }

    private static int Fill(SafeFileHandle file, Span<byte> buffer, long offset)
    {
        int length = 0;
        while (length < buffer.Length && RandomAccess.Read(file, buffer[length..], offset + length) is > 0 and int n)
            length += n;
        return length;
    }

    /// <summary>
    /// Where <paramref name="needle"/> is, upper and lower case of ASCII alike; -1 if nowhere. May take "[" for "{" and the like, as 0x20 is all that
    /// is ignored. Its first octet and its last but one are looked for in 32 places at once.
    /// </summary>
    /// <param name="needle">As <see cref="Folded"/> gives it, at least two octets.</param>
    internal static int IndexOfAnyCase(ReadOnlySpan<byte> text, ReadOnlySpan<byte> needle)
    {
        int second = needle.Length - 2, i = 0, last = text.Length - needle.Length;
        ref byte start = ref MemoryMarshal.GetReference(text);
        Vector256<byte> fold = Vector256.Create((byte)0x20), a = Vector256.Create(needle[0]), b = Vector256.Create(needle[second]);
        for (; i <= last - Vector256<byte>.Count; i += Vector256<byte>.Count)
        {
            Vector256<byte> here = Vector256.LoadUnsafe(ref start, (nuint)i) | fold, there = Vector256.LoadUnsafe(ref start, (nuint)(i + second)) | fold;
            uint hits = (Vector256.Equals(here, a) & Vector256.Equals(there, b)).ExtractMostSignificantBits();
            for (; hits != 0; hits &= hits - 1)
            {
                int at = i + BitOperations.TrailingZeroCount(hits);
                if (IsAt(text[at..], needle))
                    return at;
            }
        }
        for (; i <= last; i++)
        {
            if (IsAt(text[i..], needle))
                return i;
        }
        return -1;
    }

    internal static byte[] Folded(string text) => [.. Encoding.UTF8.GetBytes(text).Select(b => (byte)(b | 0x20))];

    private static bool IsAt(ReadOnlySpan<byte> text, ReadOnlySpan<byte> needle)
    {
        for (int i = 0; i < needle.Length; i++)
        {
            if ((text[i] | 0x20) != needle[i])
                return false;
        }
        return true;
    }

    /// <summary>A queue id as two numbers, without decoding it.</summary>
    private static (ulong, ulong) KeyOf(ReadOnlySpan<byte> id) =>
        (MemoryMarshal.Read<ulong>(id), MemoryMarshal.Read<ulong>(id[(QueueId.Length - sizeof(ulong))..]));

    private IEnumerable<(string Path, DateOnly Day, string Process)> From(DateTimeOffset since) =>
        _files.Where(file => file.Day >= DateOnly.FromDateTime(since.LocalDateTime));

    private static IEnumerable<(string, DateOnly, string)> Of(string directory, string process) =>
        DailyFile.In(directory, $"trace-{process}", "jsonl").Select(file => (file.Path, file.Day, process));
}
