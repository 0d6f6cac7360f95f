using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>A message that has become durable.</summary>
/// <param name="End">The position behind its record.</param>
public readonly record struct SpooledRecord(Envelope Envelope, SpoolPosition Position, SpoolPosition End, long Size);

/// <summary>
/// Appends messages to the open segment of one process. One thread takes everything that waits, writes it with one call, makes it
/// durable with one fdatasync, and only then tells the sessions: the more sessions wait, the more messages share a sync.
/// </summary>
public sealed class SpoolWriter : IDisposable
{
    /// <summary>A segment is sealed and a new one begun beyond this many octets.</summary>
    public const long DefaultSegmentLimit = 64L * 1024 * 1024;

    private const int BatchLimit = 1024 * 1024;
    private const int SmallSegment = 1024 * 1024;

    /// <summary>
    /// So many sessions hear of their mail one after the other: a thread that is woken for each costs more than what they do then, which is to log and
    /// answer, and to go on with what they have received. Whatever may wait for a disk in that yields before.
    /// </summary>
    private const int AnswersPerTurn = 4;

    internal const int NoSpace = 28;       // ENOSPC
    private const int QuotaExceeded = 122; // EDQUOT
    private const int SystemTableFull = 23; // ENFILE
    private const int TooManyFiles = 24;   // EMFILE

    private readonly SpoolOwner _owner;
    private readonly QueueIdSource _ids;
    private readonly Action<IReadOnlyList<SpooledRecord>> _durable;
    private readonly long _segmentLimit;
    private readonly Thread _thread;
    private readonly Intake<IncomingMessage> _intake = new();
    private readonly Pulse _pulse = new(TimeProvider.System);

    private SafeFileHandle? _handle;
    private long _segment;
    private long _end;

    /// <summary>What goes with the open segment: mail data, that of large messages included.</summary>
    private long _octets;
    private int _recipients;
    private QueueId _highest;
    private readonly List<SpooledRecord> _records = [];
    private byte[] _batch = new byte[64 * 1024];
    private volatile bool _sealWanted;
    private bool _isTroubled;

    /// <param name="durable">
    /// Called on the writer's thread with each batch, in the order of the positions, before its sessions hear of it. The list is used again for the next.
    /// </param>
    public SpoolWriter(string directory, SpoolOwner owner, QueueIdSource ids, Action<IReadOnlyList<SpooledRecord>> durable,
        long segmentLimit = DefaultSegmentLimit)
    {
        Directory = directory;
        _owner = owner;
        _ids = ids;
        _durable = durable;
        _segmentLimit = segmentLimit;
        _thread = new Thread(Run) { Name = "spool", IsBackground = true };
        _thread.Start();
    }

    internal string Directory { get; }

    /// <summary>Where each fdatasync is measured; null: nowhere.</summary>
    internal Histogram<double>? SyncTime { get; set; }

    /// <summary>Told why mail cannot be written: once, until some can be again.</summary>
    internal Action<string>? Troubled { get; set; }

    public IncomingMessage NewMessage() => new(this);

    internal void Report(Exception e)
    {
        if (!Interlocked.Exchange(ref _isTroubled, true))
            Troubled?.Invoke(e.Message);
    }

    /// <summary>Whether the thread turned lately; has it turn once more, so it must be asked every few seconds.</summary>
    internal bool IsAlive()
    {
        bool alive = _pulse.IsFelt;
        _intake.Wake();
        return alive;
    }

    internal static SpoolResult ResultOf(IOException e) => e.HResult is NoSpace or QuotaExceeded ? SpoolResult.Full : SpoolResult.Failed;

    /// <summary>A want that is over when somebody gives something back: room, file handles. Nothing is broken.</summary>
    internal static bool Passes(Exception e) => e is IOException { HResult: NoSpace or QuotaExceeded or SystemTableFull or TooManyFiles };

    internal void Enqueue(IncomingMessage message) => _intake.Add(message);

    /// <summary>
    /// Room is short: the open segment is sealed, unless little would go with it, so that it can go once all of it is settled. It would stay open for
    /// ever while nothing is accepted.
    /// </summary>
    public void SealSoon()
    {
        if (_sealWanted || Volatile.Read(ref _octets) < SmallSegment)
            return;
        _sealWanted = true;
        _intake.Wake();
    }

    /// <summary>Writes what waits, seals the segment, ends the thread.</summary>
    public void Dispose()
    {
        if (!_intake.Stop())
            return;
        _thread.Join();
    }

    private void Run()
    {
        var batch = new List<IncomingMessage>();
        for (bool stopping = false; !stopping;)
        {
            _intake.Wait();
            batch = _intake.Take(batch, out stopping);
            _pulse.Beat();
            for (int i = 0; i < batch.Count; _pulse.Beat())
                i += WriteSome(batch, i);
            batch.Clear();
            if (_sealWanted)
                Seal();
            _sealWanted = false;
        }
        Seal();
    }

    /// <summary>Writes messages from <paramref name="first"/> on, as many as fit one write; returns how many.</summary>
    private int WriteSome(List<IncomingMessage> waiting, int first)
    {
        SpoolResult result;
        List<SpooledRecord> records = _records;
        records.Clear();
        int count = 0;
        try
        {
            if (_handle is null)
                OpenSegment();
            int length = 0;
            do
                length += Place(waiting[first + count++], length, records);
            while (first + count < waiting.Count && length < BatchLimit && _end + length < _segmentLimit);

            RandomAccess.Write(_handle!, _batch.AsSpan(0, length), _end);
            long began = Stopwatch.GetTimestamp();
            Native.DataSync(_handle!);
            SyncTime?.Record(Stopwatch.GetElapsedTime(began).TotalSeconds);
            _end += length;
            foreach (SpooledRecord record in records)
            {
                _octets += record.Size;
                _recipients += record.Envelope.Recipients.Count;
                _highest = new QueueId(Math.Max(_highest.Value, record.Envelope.Id.Value));
            }
            result = SpoolResult.Durable;
            Volatile.Write(ref _isTroubled, false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            count = Math.Max(count, 1);
            result = e is IOException io ? ResultOf(io) : SpoolResult.Failed;
            Report(e);
            GiveUpSegment();
        }
        // Not in the try: what fails in there must not turn durable mail into refused mail.
        if (result == SpoolResult.Durable)
            _durable(records);
        for (int i = 0; i < count; i += AnswersPerTurn)
            Answer([.. waiting.GetRange(first + i, Math.Min(AnswersPerTurn, count - i))], result);
        if (_end >= _segmentLimit)
            Seal();
        return count;
    }

    /// <summary>Not in this thread, which writes the next batch meanwhile.</summary>
    private static void Answer(IncomingMessage[] messages, SpoolResult result) => ThreadPool.UnsafeQueueUserWorkItem(
        static turn =>
        {
            foreach (IncomingMessage message in turn.Messages)
                message.Complete(turn.Result);
        },
        (Messages: messages, Result: result), preferLocal: false);

    private int Place(IncomingMessage message, int at, List<SpooledRecord> records)
    {
        RecordHead head = message.Head;
        int length = (int)head.RecordLength;
        if (_batch.Length < at + length)
            Array.Resize(ref _batch, Math.Max(_batch.Length * 2, at + length));
        Span<byte> to = _batch.AsSpan(at, length);
        head.Write(to, _segment);
        message.EnvelopeBytes.WrittenSpan.CopyTo(to[SpoolFormat.HeadLength..]);
        int n = SpoolFormat.HeadLength + head.EnvelopeLength;
        message.Data.CopyTo(to[n..]);
        to[(n + message.Data.Length)..].Clear();
        long offset = _end + at;
        records.Add(new SpooledRecord(message.Envelope!, new(_segment, offset), new(_segment, offset + length), head.DataLength));
        return length;
    }

    private void OpenSegment()
    {
        long segment = _ids.Next().Value;
        string path = Path.Combine(Directory, SpoolFormat.SegmentName(segment));
        SafeFileHandle handle = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
        try
        {
            File.SetUnixFileMode(handle, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            Span<byte> header = stackalloc byte[SpoolFormat.SegmentHeaderLength];
            SpoolFormat.WriteSegmentHeader(header, segment, _owner);
            RandomAccess.Write(handle, header, 0);
            Native.SyncDirectory(Directory);
        }
        catch
        {
            handle.Dispose();
            File.Delete(path);
            throw;
        }
        (_handle, _segment, _end, _octets, _recipients, _highest) = (handle, segment, SpoolFormat.SegmentHeaderLength, 0, 0, new QueueId(segment));
    }

    /// <summary>
    /// After a failed write or sync nobody knows what of the batch is on disk (fsync does not report the same error twice), and its
    /// senders hear that it was not accepted. So it is cut off, and the next batch begins a new segment.
    /// </summary>
    private void GiveUpSegment()
    {
        if (_handle is null)
            return;
        try
        {
            RandomAccess.SetLength(_handle, _end);
            Seal();
        }
        catch (IOException)
        {
            // The next start of the process finds the segment unsealed and settles what it holds.
            _handle?.Dispose();
            _handle = null;
        }
    }

    private void Seal()
    {
        if (_handle is null)
            return;
        try
        {
            SegmentSeal.Append(_handle, _segment, _end, _recipients, _highest);
        }
        catch (IOException)
        {
            // Unsealed is only untidy: sealed at the next start.
        }
        _handle.Dispose();
        _handle = null;
        _end = _octets = 0;
    }
}

/// <summary>The last record of a segment: nothing follows it, so the segment may go once all its recipients are settled.</summary>
internal static class SegmentSeal
{
    /// <param name="recipients">How many the messages of the segment have together.</param>
    /// <param name="highest">The highest queue id in it.</param>
    public static void Append(SafeFileHandle handle, long segment, long end, int recipients, QueueId highest)
    {
        Span<byte> head = stackalloc byte[SpoolFormat.HeadLength];
        new RecordHead { Kind = RecordKind.Seal, Recipients = recipients, Id = highest }.Write(head, segment);
        RandomAccess.Write(handle, head, end);
        Native.DataSync(handle);
    }

    /// <summary>The seal, or null when the segment has none yet.</summary>
    public static RecordHead? Read(string path, long segment)
    {
        using SafeFileHandle handle = Native.OpenToRead(path);
        Span<byte> head = stackalloc byte[SpoolFormat.HeadLength];
        long length = RandomAccess.GetLength(handle);
        return length >= SpoolFormat.SegmentHeaderLength + SpoolFormat.HeadLength
            && RandomAccess.Read(handle, head, length - SpoolFormat.HeadLength) == SpoolFormat.HeadLength
            && RecordHead.TryRead(head, segment, out RecordHead seal) && seal.Kind == RecordKind.Seal
            ? seal : null;
    }
}

/// <summary>Less room on the disk than a change of the table may need.</summary>
internal sealed class NoRoomException(string message) : IOException(message, SpoolWriter.NoSpace);
