using System.Buffers;
using System.Threading.Tasks.Sources;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>What became of a message that was handed to the spool.</summary>
public enum SpoolResult
{
    /// <summary>On stable storage: the sender may hear 250.</summary>
    Durable,

    /// <summary>No room on the file system: 452 4.3.1.</summary>
    Full,

    /// <summary>The file system failed: 451 4.3.0.</summary>
    Failed,
}

/// <summary>
/// A message while its mail data arrives: up to 256 KiB in memory, more in a file of its own, so that memory is bounded whatever the
/// size. One per session, used again for each of its messages.
/// </summary>
public sealed class IncomingMessage : IValueTaskSource<SpoolResult>, IDisposable
{
    /// <summary>Mail data beyond this many octets is streamed to a file.</summary>
    public const int MemoryLimit = 256 * 1024;

    private const int FirstBuffer = 8 * 1024;

    private readonly SpoolWriter _spool;
    private ManualResetValueTaskSourceCore<SpoolResult> _done;
    private byte[] _data = [];
    private int _used;
    private byte _highBits;
    private QueueId _id;
    private FileStreamOfMessage? _file;

    internal IncomingMessage(SpoolWriter spool) => _spool = spool;

    /// <summary>Octets of mail data so far.</summary>
    public long Length => _used + (_file?.Length ?? 0);

    internal ReadOnlySpan<byte> Data => _data.AsSpan(0, _used);
    internal RecordHead Head { get; private set; }
    internal ArrayBufferWriter<byte> EnvelopeBytes { get; } = new(512);
    internal Envelope? Envelope { get; private set; }

    /// <summary>Starts a new message; what was not committed is dropped.</summary>
    public void Begin(QueueId id)
    {
        Abandon();
        _id = id;
    }

    /// <summary>Adds mail data. Throws IOException when it goes to a file and the file system refuses.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        if (_used + bytes.Length > MemoryLimit)
        {
            Spill();
            if (bytes.Length >= MemoryLimit)
            {
                _file!.Write(bytes, ref _highBits);
                return;
            }
        }
        Reserve(_used + bytes.Length);
        bytes.CopyTo(_data.AsSpan(_used));
        _used += bytes.Length;
    }

    /// <summary>
    /// Completes when the message is on stable storage together with those of all sessions that wait at the same time (one fdatasync
    /// for all), or could not be. Afterwards it is handed to the queue table.
    /// </summary>
    public ValueTask<SpoolResult> CommitAsync(Envelope envelope)
    {
        Envelope = envelope;
        EnvelopeBytes.ResetWrittenCount();
        EnvelopeText.Write(envelope, EnvelopeBytes);
        long length = Length;
        uint crc = 0;
        if (_file is not null)
        {
            try
            {
                Spill();
                crc = _file.Complete();
            }
            catch (IOException e)
            {
                _spool.Report(e);
                Abandon();
                return ValueTask.FromResult(SpoolWriter.ResultOf(e));
            }
        }
        else
        {
            crc = Crc32C.Of(Data);
            _highBits |= HighBits(Data);
        }
        Head = new RecordHead
        {
            Kind = _file is null ? RecordKind.Message : RecordKind.LargeMessage,
            Flags = (_highBits & 0x80) != 0 ? RecordFlags.EightBit : RecordFlags.None,
            EnvelopeLength = EnvelopeBytes.WrittenCount,
            EnvelopeCrc = Crc32C.Of(EnvelopeBytes.WrittenSpan),
            DataLength = length,
            DataCrc = crc,
            Recipients = envelope.Recipients.Count,
            Id = _id,
        };
        _done.Reset();
        _spool.Enqueue(this);
        return new ValueTask<SpoolResult>(this, _done.Version);
    }

    /// <summary>Drops what has arrived; a file of it is removed.</summary>
    public void Abandon()
    {
        _file?.Discard();
        Release();
    }

    public void Dispose() => Abandon();

    /// <summary>Whoever waits for it goes on within this call.</summary>
    internal void Complete(SpoolResult result)
    {
        if (result == SpoolResult.Durable)
            _file?.Dispose();
        else
            _file?.Discard();
        Release();
        _done.SetResult(result);
    }

    private void Release()
    {
        _file = null;
        Envelope = null;
        _highBits = 0;
        _used = 0;
        if (_data.Length > 0)
            ArrayPool<byte>.Shared.Return(_data);
        _data = [];
    }

    private void Spill()
    {
        try
        {
            _file ??= new FileStreamOfMessage(_spool.Directory, _id);
            _file.Write(Data, ref _highBits);
        }
        catch (IOException e)
        {
            _spool.Report(e);
            throw;
        }
        _used = 0;
    }

    private void Reserve(int size)
    {
        if (size <= _data.Length)
            return;
        byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(FirstBuffer, Math.Max(size, Math.Min(_data.Length * 2, MemoryLimit))));
        Data.CopyTo(larger);
        if (_data.Length > 0)
            ArrayPool<byte>.Shared.Return(_data);
        _data = larger;
    }

    private static byte HighBits(ReadOnlySpan<byte> bytes) => System.Text.Ascii.IsValid(bytes) ? (byte)0 : (byte)0x80;

    SpoolResult IValueTaskSource<SpoolResult>.GetResult(short token) => _done.GetResult(token);
    ValueTaskSourceStatus IValueTaskSource<SpoolResult>.GetStatus(short token) => _done.GetStatus(token);
    void IValueTaskSource<SpoolResult>.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _done.OnCompleted(continuation, state, token, flags);

    /// <summary>Mail data in a file: QUEUE-ID.tmp while it arrives, QUEUE-ID.dat once it is complete and durable.</summary>
    private sealed class FileStreamOfMessage : IDisposable
    {
        private readonly string _directory;
        private readonly string _path;
        private readonly string _finalPath;
        private readonly SafeFileHandle _handle;
        private uint _crc = uint.MaxValue;

        public FileStreamOfMessage(string directory, QueueId id)
        {
            _directory = directory;
            _path = Path.Combine(directory, $"{id}.tmp");
            _finalPath = Path.Combine(directory, SpoolFormat.LargeDataName(id));
            try
            {
                // Open until the record is durable: the flock of an open file tells a starting process that this is no leftover.
                _handle = File.OpenHandle(_path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
                File.SetUnixFileMode(_handle, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }
            catch (UnauthorizedAccessException e)
            {
                throw new IOException(e.Message, e);
            }
        }

        public long Length { get; private set; }

        public void Write(ReadOnlySpan<byte> bytes, ref byte highBits)
        {
            RandomAccess.Write(_handle, bytes, Length);
            _crc = Crc32C.Append(_crc, bytes);
            highBits |= HighBits(bytes);
            Length += bytes.Length;
        }

        public uint Complete()
        {
            Native.DataSync(_handle);
            File.Move(_path, _finalPath);
            Native.SyncDirectory(_directory);
            return ~_crc;
        }

        public void Dispose() => _handle.Dispose();

        public void Discard()
        {
            _handle.Dispose();
            try
            {
                File.Delete(_path);
                File.Delete(_finalPath);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The next start removes what no record names.
            }
        }
    }
}
