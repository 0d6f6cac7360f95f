using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>A deadline rings when it should, however often it was set before.</summary>
public sealed class DeadlineTests : IDisposable
{
    private readonly VirtualTime _time = new();
    private readonly DateTimeOffset _start;
    private readonly List<double> _rings = [];
    private readonly Deadline _deadline;

    public DeadlineTests()
    {
        _start = _time.GetUtcNow();
        _deadline = new Deadline(_time, () => _rings.Add((_time.GetUtcNow() - _start).TotalSeconds));
    }

    [Theory]
    [InlineData("set 5, pass 60", "5")]
    [InlineData("pass 60", "")]
    [InlineData("set 5, pass 4, lift, pass 60", "")]
    [InlineData("set 5, pass 4, set 5, pass 60", "9")]
    [InlineData("set 60, pass 1, set 2, pass 60", "3")]
    [InlineData("set 5, pass 4, lift, pass 60, set 5, pass 60", "69")]
    [InlineData("set 5, pass 60, set 5, pass 60", "5 65")]
    [InlineData("set 5, lift, set 5, lift, set 7, pass 6, set 7, pass 6, set 7, pass 60", "19")]
    [InlineData("set 5, set 1, set 9, pass 60", "9")]
    [InlineData("set 0.0004, pass 60", "0.001")]
    public void It_rings_at_the_time_that_was_set_last(string story, string rings)
    {
        foreach (string[] step in story.Split(", ").Select(step => step.Split(' ')))
        {
            TimeSpan seconds = TimeSpan.FromSeconds(step.Length > 1 ? double.Parse(step[1], System.Globalization.CultureInfo.InvariantCulture) : 0);
            if (step[0] is "set")
                _deadline.Set(seconds);
            else if (step[0] is "lift")
                _deadline.Lift();
            else
                _time.Advance(seconds);
        }
        Assert.Equal(rings, string.Join(' ', _rings.Select(second => second.ToString(System.Globalization.CultureInfo.InvariantCulture))));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-3)]
    public void One_that_has_passed_already_rings_without_the_clock_moving(int seconds)
    {
        _deadline.Set(TimeSpan.FromSeconds(seconds));
        Assert.True(SpinWait.SpinUntil(() => _deadline.HasRung, TimeSpan.FromSeconds(10)));
    }

    [Fact]
    public void Lifted_it_has_not_rung_and_what_has_rung_stays_so()
    {
        _deadline.Set(TimeSpan.FromSeconds(1));
        _deadline.Lift();
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.False(_deadline.HasRung);
        _deadline.Set(TimeSpan.FromSeconds(1));
        _time.Advance(TimeSpan.FromSeconds(2));
        _deadline.Lift();
        Assert.True(_deadline.HasRung);
    }

    public void Dispose() => _deadline.Dispose();
}
