using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.AspNetCore.Connections;

namespace Mfrelay.Server;

/// <summary>
/// What Kestrel receives into. Its own blocks have 4 KiB, so that a message of 64 KiB takes sixteen system calls and wake-ups; these have 16 KiB as long
/// as there are few of them, since a connection that waits keeps one.
/// </summary>
internal sealed class ReceiveBuffers : MemoryPool<byte>, IMemoryPoolFactory<byte>
{
    private const int BlockSize = 16 * 1024;

    /// <summary>Large blocks in use at most: 32 MiB.</summary>
    private const int MostInUse = 2048;

    /// <summary>Large blocks kept for the next connection at most: 4 MiB.</summary>
    private const int MostKept = 256;

    private readonly ConcurrentQueue<Block> _kept = new();
    private int _inUse;

    public override int MaxBufferSize => BlockSize;

    public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => this;

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(minBufferSize, BlockSize);
        if (Interlocked.Increment(ref _inUse) > MostInUse)
        {
            Interlocked.Decrement(ref _inUse);
            return Shared.Rent(minBufferSize);
        }
        return _kept.TryDequeue(out Block? block) ? block : new Block(this);
    }

    protected override void Dispose(bool disposing)
    {
        // Kestrel disposes it with a listener; connections that still run return what they have.
    }

    private void Return(Block block)
    {
        Interlocked.Decrement(ref _inUse);
        if (_kept.Count < MostKept)
            _kept.Enqueue(block);
    }

    private sealed class Block(ReceiveBuffers pool) : IMemoryOwner<byte>
    {
        public Memory<byte> Memory { get; } = GC.AllocateUninitializedArray<byte>(BlockSize, pinned: true);

        public void Dispose() => pool.Return(this);
    }
}
