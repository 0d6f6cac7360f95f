using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ByteSizeTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("512", 512)]
    [InlineData("512B", 512)]
    [InlineData("5KB", 5_000)]
    [InlineData("256KiB", 262_144)]
    [InlineData("50MB", 50_000_000)]
    [InlineData("50mb", 50_000_000)]
    [InlineData("1MiB", 1_048_576)]
    [InlineData("2GB", 2_000_000_000)]
    [InlineData("2GiB", 2_147_483_648)]
    public void A_number_with_a_unit_is_a_size(string text, long octets)
    {
        Assert.True(ByteSize.TryParse(text, out long value));
        Assert.Equal(octets, value);
    }

    [Theory]
    [InlineData("")]
    [InlineData("MB")]
    [InlineData("50XB")]
    [InlineData("50M")]
    [InlineData("50 MB")]
    [InlineData("-1")]
    [InlineData("1.5MB")]
    [InlineData("50MBs")]
    [InlineData("9223372036854775808")]
    [InlineData("9999999999GiB")]
    public void Anything_else_is_not(string text) => Assert.False(ByteSize.TryParse(text, out _));

    [Theory]
    [InlineData(0, "0B")]
    [InlineData(1, "1B")]
    [InlineData(1001, "1001B")]
    [InlineData(50_000_000, "50MB")]
    [InlineData(65_536, "64KiB")]
    [InlineData(2_147_483_648, "2GiB")]
    public void It_is_written_in_the_largest_unit_that_fits(long octets, string text) => Assert.Equal(text, ByteSize.Format(octets));

    [Fact]
    public void What_is_written_reads_back_as_the_same()
    {
        Arbitrary<int> numbers = Gen.Choose(0, int.MaxValue).ToArbitrary();
        Arbitrary<int> scales = Gen.Elements(1, 1000, 1024, 1 << 20, 1000_000_000).ToArbitrary();
        Prop.ForAll(numbers, scales, (number, scale) =>
        {
            long value = (long)number * scale;
            return ByteSize.TryParse(ByteSize.Format(value), out long back) && back == value;
        }).QuickCheckThrowOnFailure();
    }
}
