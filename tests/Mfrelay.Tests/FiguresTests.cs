using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class FiguresTests : IDisposable
{
    private readonly TestDirectory _run = new();
    private readonly VirtualTime _time = new(CommandRun.Now);
    private long _total;
    private int _sessions;

    public void Dispose() => _run.Dispose();

    [Fact]
    public void Rates_are_those_of_the_last_seconds_and_minutes()
    {
        FigureKeeper keeper = Keeper();
        for (int second = 0; second < 400; second++)
        {
            keeper.Look();
            _total += second < 330 ? 2 : 10;
            _time.Advance(TimeSpan.FromSeconds(1));
        }
        keeper.Look();
        Figure figure = Read()!.Of(Figure.Accepted)!;
        Assert.Equal((1360, 10.0, 600.0), (figure.Total, figure.PerSecond, figure.PerMinute));
        Assert.Equal(60 * ((70 * 10) + (230 * 2)) / 300.0, figure.PerMinuteOfFive, 1);
    }

    [Fact]
    public void A_young_process_has_the_rate_of_the_time_that_it_has_run()
    {
        FigureKeeper keeper = Keeper();
        keeper.Look();
        Assert.Equal(new Figure(Figure.Accepted, 0, 0, 0, 0), Read()!.Of(Figure.Accepted));
        _total = 12;
        _time.Advance(TimeSpan.FromSeconds(4));
        keeper.Look();
        Assert.Equal(new Figure(Figure.Accepted, 12, 3, 180, 180), Read()!.Of(Figure.Accepted));
    }

    [Fact]
    public void Without_news_nothing_is_written()
    {
        FigureKeeper keeper = Keeper();
        keeper.Look();
        DateTimeOffset first = Read()!.Time;
        _time.Advance(TimeSpan.FromSeconds(1));
        keeper.Look();
        Assert.Equal(first, Read()!.Time);
        _sessions = 1;
        keeper.Look();
        Assert.Equal((first.AddSeconds(1), 1), (Read()!.Time, Read()!.Sessions));
        Assert.Equal(new RaisedAlert("queue_size", "queue", "7", CommandRun.Now), Assert.Single(Read()!.Alerts));
    }

    [Fact]
    public void After_the_last_news_rates_fall_to_zero_and_then_nothing_is_written()
    {
        FigureKeeper keeper = Keeper();
        keeper.Look();
        _total = 100;
        int writes = 0;
        for (int second = 0; second < 400; second++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            DateTimeOffset before = Read()!.Time;
            keeper.Look();
            writes += Read()!.Time > before ? 1 : 0;
            if (second == 14)
                Assert.Equal((0.0, 100L), (Read()!.Of(Figure.Accepted)!.PerSecond, Read()!.Of(Figure.Accepted)!.Total));
        }
        Assert.Equal(new Figure(Figure.Accepted, 100, 0, 0, 0), Read()!.Of(Figure.Accepted));
        Assert.InRange(writes, 12, 40);
        Assert.InRange(Read()!.Time - CommandRun.Now, TimeSpan.FromSeconds(300), TimeSpan.FromSeconds(320));
    }

    [Fact]
    public async Task The_file_goes_with_the_process_and_a_torn_one_is_none()
    {
        using var stop = new CancellationTokenSource();
        Task running = Keeper().RunAsync(stop.Token);
        Assert.NotNull(Read());
        await File.WriteAllTextAsync(DaemonFigures.FileOf(_run.Path, "d"), "{\"time\":", TestContext.Current.CancellationToken);
        Assert.Null(Read());
        await stop.CancelAsync();
        await running;
        Assert.Empty(Directory.GetFiles(_run.Path));
    }

    private FigureKeeper Keeper() => new("d", _run.Path, _time, () => [(Figure.Accepted, _total)], () => _sessions,
        () => [new RaisedAlert("queue_size", "queue", "7", CommandRun.Now)]);

    private DaemonFigures? Read() => DaemonFigures.Read(_run.Path, "d");
}
