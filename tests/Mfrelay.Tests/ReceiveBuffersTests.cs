using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ReceiveBuffersTests
{
    private const int MostInUse = 2048;

    [Fact]
    public void They_are_large_as_long_as_few_are_in_use()
    {
        var buffers = new ReceiveBuffers();
        byte[][] blocks = [.. Enumerable.Range(0, MostInUse + 3).Select(_ => buffers.Rent())];
        Assert.All(blocks[..MostInUse], block => Assert.Equal(ReceiveBuffers.Large, block.Length));
        Assert.All(blocks[MostInUse..], block => Assert.Equal(ReceiveBuffers.Small, block.Length));
        foreach (byte[] small in blocks[MostInUse..])
            buffers.Return(small);
        Assert.Equal(ReceiveBuffers.Small, buffers.Rent().Length);

        buffers.Return(blocks[0]);
        Assert.Same(blocks[0], buffers.Rent());
    }
}
