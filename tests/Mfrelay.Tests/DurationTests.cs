using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class DurationTests
{
    [Theory]
    [InlineData("500ms", 500)]
    [InlineData("0s", 0)]
    [InlineData("30s", 30_000)]
    [InlineData("5m", 300_000)]
    [InlineData("90m", 5_400_000)]
    [InlineData("1h", 3_600_000)]
    [InlineData("5d", 432_000_000)]
    public void A_number_with_a_unit_is_a_duration(string text, long milliseconds)
    {
        Assert.True(Duration.TryParse(text, out TimeSpan value));
        Assert.Equal(TimeSpan.FromMilliseconds(milliseconds), value);
    }

    [Theory]
    [InlineData("")]
    [InlineData("5")]
    [InlineData("m")]
    [InlineData("5M")]
    [InlineData("5 m")]
    [InlineData("-5m")]
    [InlineData("+5m")]
    [InlineData("1.5h")]
    [InlineData("1h30m")]
    [InlineData("5min")]
    [InlineData("٣s")]
    [InlineData("99999999999d")]
    [InlineData("99999999999999999999s")]
    public void Anything_else_is_not(string text) => Assert.False(Duration.TryParse(text, out _));

    [Theory]
    [InlineData(0, "0s")]
    [InlineData(1, "1ms")]
    [InlineData(1500, "1500ms")]
    [InlineData(60_000, "1m")]
    [InlineData(5_400_000, "90m")]
    [InlineData(604_800_000, "7d")]
    public void It_is_written_in_the_largest_unit_that_fits(long milliseconds, string text) =>
        Assert.Equal(text, Duration.Format(TimeSpan.FromMilliseconds(milliseconds)));

    [Fact]
    public void What_is_written_reads_back_as_the_same()
    {
        Arbitrary<int> numbers = Gen.Choose(0, int.MaxValue).ToArbitrary();
        Arbitrary<int> scales = Gen.Elements(1, 10, 1000, 60_000).ToArbitrary();
        Prop.ForAll(numbers, scales, (number, scale) =>
        {
            var value = TimeSpan.FromMilliseconds((long)number * scale);
            return Duration.TryParse(Duration.Format(value), out TimeSpan back) && back == value;
        }).QuickCheckThrowOnFailure();
    }
}
