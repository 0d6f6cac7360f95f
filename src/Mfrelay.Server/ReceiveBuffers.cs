using System.Collections.Concurrent;

namespace Mfrelay.Server;

/// <summary>
/// What is received into. With 4 KiB a message of 64 KiB takes sixteen system calls and wake-ups; these have 16 KiB as long as there are few of them,
/// since a connection that waits keeps one.
/// </summary>
internal sealed class ReceiveBuffers
{
    public const int Large = 16 * 1024;
    public const int Small = 4 * 1024;

    /// <summary>Large ones in use at most: 32 MiB.</summary>
    private const int MostInUse = 2048;

    /// <summary>Large ones kept for the next connection at most: 4 MiB.</summary>
    private const int MostKept = 256;

    private readonly ConcurrentQueue<byte[]> _kept = new();
    private int _inUse;

    public byte[] Rent()
    {
        if (Interlocked.Increment(ref _inUse) > MostInUse)
        {
            Interlocked.Decrement(ref _inUse);
            return new byte[Small];
        }
        return _kept.TryDequeue(out byte[]? block) ? block : GC.AllocateUninitializedArray<byte>(Large);
    }

    public void Return(byte[] block)
    {
        if (block.Length != Large)
            return;
        Interlocked.Decrement(ref _inUse);
        if (_kept.Count < MostKept)
            _kept.Enqueue(block);
    }
}
