using System.Diagnostics;

namespace Mfrelay.CrashTests;

/// <summary>How much of a mode is run.</summary>
internal sealed record Amount(int Rounds, int Seed, int Messages);

/// <summary>One run of a mode: source, pair and target, the books, and what was found wrong. Leaves nothing behind but what a failure needs.</summary>
internal sealed class Trial : IDisposable
{
    public static readonly TimeSpan DrainLimit = TimeSpan.FromSeconds(90);

    private readonly string _name;
    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly List<string> _wrong = [];
    private readonly Action _unmount = static () => { };
    private Task _load = Task.CompletedTask;
    private CancellationTokenSource _stop = new();

    /// <param name="mount">Mounts a file system below the directory it is given, for the state; null: none of its own.</param>
    public Trial(string name, int seed, Func<string, (string Path, Action Unmount)>? mount = null, string server = "", bool withoutSync = false, int laterEvery = 0,
        int maxSize = 2_000_000, bool keepLines = true)
    {
        _name = name;
        Random = new Random(seed);
        Root = Directory.CreateTempSubdirectory("mfrelay-crash-").FullName;
        Target = new Target(Ledger);
        Target.Start();
        string path = Root;
        if (mount is not null)
            (path, _unmount) = mount(Root);
        Pair = new Pair(Root, Path.Join(path, "state"), Target.EndPoint, server) { WithoutSync = withoutSync, KeepLines = keepLines };
        Source = new Source(Pair.EndPoint, Ledger, seed) { LaterEvery = laterEvery, MaxSize = maxSize };
        Audit = new QueueAudit(Pair.StateDirectory);
    }

    public string Root { get; }
    public Random Random { get; }
    public Ledger Ledger { get; } = new();
    public Target Target { get; }
    public Source Source { get; }
    public Pair Pair { get; }
    public QueueAudit Audit { get; }

    public void Wrong(string what)
    {
        if (_wrong.Count < 20)
            Console.WriteLine($"    {_name}: {what}");
        _wrong.Add(what);
    }

    /// <summary>Begins to send as fast as it goes.</summary>
    public void BeginLoad()
    {
        _stop = new CancellationTokenSource();
        _load = Source.RunAsync(_stop.Token);
    }

    public async Task EndLoadAsync()
    {
        await _stop.CancelAsync();
        await _load;
        _stop.Dispose();
    }

    /// <summary>So many acknowledged messages more.</summary>
    public Task SendAsync(int count, int seconds = 120) => Source.RunAsync(CancellationToken.None, count).WaitAsync(TimeSpan.FromSeconds(seconds));

    public Task PauseAsync(int least, int most) => Task.Delay(Random.Next(least, most));

    /// <summary>Lets the queue run empty, and holds what came against what was acknowledged.</summary>
    public async Task DrainAsync()
    {
        int open = await Audit.WaitUntilEmptyAsync(DrainLimit);
        if (open > 0)
            Wrong($"{open} recipients are still open after {DrainLimit.TotalSeconds} s");
        Check();
        if (await Audit.WaitUntilEqualAsync(TimeSpan.FromSeconds(20)) is { } difference)
            Wrong($"drained, but {difference}");
    }

    /// <summary>Holds the books against each other as they are.</summary>
    public void Check()
    {
        Verdict verdict = Ledger.Judge();
        if (verdict.Lost > 0)
            Wrong($"{verdict.Lost} lost: {string.Join(' ', Ledger.Missing().Take(10))}");
        if (verdict.Unexcused > 0)
            Wrong($"{verdict.Unexcused} came twice without a reason");
    }

    /// <summary>The last word: stops and starts once more, which must leave an empty spool and find nothing to send; the line; whether all was good.</summary>
    public async Task<bool> FinishAsync(int rounds, string more = "", bool expectEmpty = true, bool expectErrors = false)
    {
        string[] stale = [];
        if (expectEmpty)
        {
            await Pair.StopAsync();
            await Pair.StartAsync();
            await Pair.StopServerAsync();
            stale = await Audit.StaleAsync(TimeSpan.FromSeconds(10));
        }
        await Pair.StopAsync();
        Verdict verdict = Ledger.Judge();
        int left = Audit.OpenBySpool().Count;
        if (Ledger.Damaged > 0)
            Wrong($"{Ledger.Damaged} came damaged");
        if (stale.Length > 0)
            Wrong($"left in the spool: {string.Join(' ', stale.Take(10))}");
        if (expectEmpty && left > 0)
            Wrong($"{left} still in the queue");
        if (!verdict.IsGood && _wrong.Count == 0)
            Wrong("nothing was acknowledged, or the books are wrong");
        if (!expectErrors)
        {
            foreach (string error in Pair.Errors.Take(5))
                Wrong(error);
        }
        Console.WriteLine(
            $"{_name}: rounds {rounds}, acknowledged {verdict.Acknowledged}, delivered {verdict.Delivered}, lost {verdict.Lost}, "
            + $"duplicated {verdict.Duplicated} allowed + {verdict.Unexcused} not, undelivered-in-queue {left}, stale files {stale.Length}, "
            + $"rebuilt {Pair.Count("WARN_c301")}{more}, {Stopwatch.GetElapsedTime(_began).TotalSeconds:F0} s");
        return _wrong.Count == 0;
    }

    public void Dispose()
    {
        Pair.Dispose();
        _unmount();
        Target.Dispose();
        if (_wrong.Count > 0 && Environment.GetEnvironmentVariable("MFRELAY_KEEP") is { Length: > 0 })
            Console.WriteLine($"    kept: {Root}");
        else
            Directory.Delete(Root, recursive: true);
    }
}
