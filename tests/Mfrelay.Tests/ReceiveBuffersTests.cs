using System.Buffers;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ReceiveBuffersTests
{
    private const int Large = 16 * 1024, MostInUse = 2048;

    [Fact]
    public void Blocks_are_large_as_long_as_few_are_in_use()
    {
        using var buffers = new ReceiveBuffers();
        IMemoryOwner<byte>[] blocks = [.. Enumerable.Range(0, MostInUse + 3).Select(_ => buffers.Rent(4096))];
        Assert.All(blocks[..MostInUse], block => Assert.Equal(Large, block.Memory.Length));
        Assert.All(blocks[MostInUse..], block => Assert.Equal(4096, block.Memory.Length));
        foreach (IMemoryOwner<byte> small in blocks[MostInUse..])
            small.Dispose();
        using (IMemoryOwner<byte> stillSmall = buffers.Rent(4096))
            Assert.Equal(4096, stillSmall.Memory.Length);

        blocks[0].Dispose();
        using IMemoryOwner<byte> again = buffers.Rent(4096);
        Assert.Same(blocks[0], again);
    }
}
