using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class RetryScheduleTests
{
    private static readonly DateTimeOffset Arrival = DateTimeOffset.UnixEpoch;
    private static readonly ClientSettings Client = new();

    [Theory]
    // attempts, minutes after arrival, chance, minutes until the next one
    [InlineData(1, 0, 0, 1)]
    [InlineData(2, 1, 0, 5)]
    [InlineData(5, 60, 0, 60)]
    [InlineData(900, 60, 0, 60)]
    [InlineData(5, 60, 1, 66)]
    [InlineData(3, 60, 0.5, 15.75)]
    public void The_next_attempt_comes_by_the_schedule_and_a_little_later(int attempts, double now, double chance, double expected)
    {
        DateTimeOffset at = Arrival.AddMinutes(now);
        Assert.Equal(expected, (RetrySchedule.Next(attempts, at, Arrival, isBounce: false, Client, chance) - at).TotalMinutes, 6);
    }

    [Theory]
    [InlineData(false, 120)]
    [InlineData(true, 24)]
    public void The_last_attempt_is_at_the_end_of_the_lifetime(bool isBounce, int hours)
    {
        DateTimeOffset expiry = Arrival.AddHours(hours);
        Assert.Equal(expiry, RetrySchedule.Expiry(Arrival, isBounce, Client));
        Assert.Equal(expiry, RetrySchedule.Next(9, expiry.AddMinutes(-10), Arrival, isBounce, Client, 0));
        Assert.True(RetrySchedule.Next(9, expiry, Arrival, isBounce, Client, 0) > expiry);
    }

    [Theory]
    [InlineData(3.9, false, false)]
    [InlineData(4, false, true)]
    [InlineData(100, true, false)]
    public void A_sender_is_told_after_four_hours_and_nobody_about_a_bounce(double hours, bool isBounce, bool expected) =>
        Assert.Equal(expected, RetrySchedule.IsWarningDue(Arrival, isBounce, Arrival.AddHours(hours), Client));

    [Fact]
    public void With_zero_nobody_is_ever_told() =>
        Assert.False(RetrySchedule.IsWarningDue(Arrival, false, Arrival.AddDays(99), Client with { DelayWarning = TimeSpan.Zero }));
}
