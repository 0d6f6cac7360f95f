using System.Diagnostics;
using System.Globalization;

namespace Mfrelay.Fuzz;

/// <summary>
/// Coverage-guided fuzzing in this process: an input that takes a branch which no other took joins the corpus, and mutations start from
/// there. Stops at the first find, at a hang, and when memory grows.
/// </summary>
internal sealed class FuzzLoop(FuzzTarget target, ulong seed, string findings) : IDisposable
{
    private const int Batch = 32;
    private const int EveryInputAlone = 16;
    private const long MayGrow = 64 << 20;
    private static readonly TimeSpan Hang = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Report = TimeSpan.FromSeconds(30);

    private readonly Coverage _coverage = new();
    private readonly Mutator _mutator = new(target);
    private readonly List<byte[]> _corpus = Corpus.Load(target);
    private byte[] _running = [];
    private int _runningLength;
    private long _executions;

    public long Executions => _executions;

    /// <summary>Runs for a time, or up to a number of executions. False: something was found, and is in a file.</summary>
    public bool Run(TimeSpan time, long most)
    {
        if (_corpus.Count == 0)
            _corpus.Add([]);
        var clock = Stopwatch.StartNew();
        using var watch = new Timer(Watch, null, Hang, Hang);
        try
        {
            foreach (byte[] input in _corpus.ToArray())
                RunAlone(input);
            TimeSpan nextReport = Report;
            long baseline = 0, corpusAtBaseline = 0;
            var chance = new Chance(seed);
            for (long batch = 0; clock.Elapsed < time && _executions < most; batch++)
            {
                RunBatch(ref chance, batch);
                if (clock.Elapsed < nextReport)
                    continue;
                nextReport += Report;
                long memory = GC.GetTotalMemory(forceFullCollection: true) - Held();
                if (baseline == 0)
                    (baseline, corpusAtBaseline) = (memory, _corpus.Count);
                Print(clock.Elapsed);
                Oracle.Holds(memory - baseline < MayGrow, $"memory grew from {baseline} to {memory} octets");
            }
            Print(clock.Elapsed);
            return true;
        }
        catch (Exception e)
        {
            Print(clock.Elapsed);
            string path = Keep("find", Smallest(_running.AsSpan(0, _runningLength).ToArray(), e.GetType()));
            Console.WriteLine($"{target.Name}: FOUND, {path}\n{e}");
            return false;
        }
    }

    /// <summary>The smallest inputs that together do all that the corpus does.</summary>
    public IEnumerable<byte[]> Distilled()
    {
        using var coverage = new Coverage();
        var kept = new List<byte[]>();
        foreach (byte[] input in _corpus.OrderBy(input => input.Length))
        {
            Coverage.Clear();
            target.Run(input);
            if (coverage.Merge())
                kept.Add(input);
        }
        return kept;
    }

    public void Dispose() => _coverage.Dispose();

    private long Held() => _corpus.Sum(input => (long)input.Length + 64);

    private void RunBatch(ref Chance chance, long batch)
    {
        // Every second one starts from what was found lately.
        int recent = Math.Min(_corpus.Count, 16);
        byte[] parent = chance.Below(2) == 0 ? _corpus[chance.Below(_corpus.Count)] : _corpus[_corpus.Count - 1 - chance.Below(recent)];
        Chance again = chance;
        int known = _corpus.Count;
        Coverage.Clear();
        for (int i = 0; i < Batch; i++)
            Execute(_mutator.Mutate(ref chance, _corpus, parent));
        if (batch % EveryInputAlone != 0 && !_coverage.HasNewEdge())
            return;
        List<byte[]> before = _corpus.GetRange(0, known);
        for (int i = 0; i < Batch; i++)
            RunAlone(_mutator.Mutate(ref again, before, parent), keep: true);
    }

    private void RunAlone(ReadOnlySpan<byte> input, bool keep = false)
    {
        Coverage.Clear();
        Execute(input);
        if (_coverage.Merge() && keep)
            _corpus.Add(input.ToArray());
    }

    private void Execute(ReadOnlySpan<byte> input)
    {
        if (_running.Length < input.Length)
            _running = new byte[Math.Max(input.Length, 4096)];
        input.CopyTo(_running);
        _runningLength = input.Length;
        target.Run(input);
        _executions++;
    }

    // Pieces are taken out for as long as the same kind of failure remains.
    private byte[] Smallest(byte[] input, Type failure)
    {
        for (int piece = Math.Max(1, input.Length / 2); piece >= 1; piece /= 2)
        {
            for (int at = 0; at + piece <= input.Length;)
            {
                byte[] shorter = [.. input.AsSpan(0, at), .. input.AsSpan(at + piece)];
                if (Fails(shorter, failure))
                    input = shorter;
                else
                    at += piece;
            }
        }
        return input;
    }

    private bool Fails(byte[] input, Type failure)
    {
        try
        {
            target.Run(input);
            return false;
        }
        catch (Exception e)
        {
            return e.GetType() == failure;
        }
    }

    private long _seen = -1;
    private int _still;

    // Twice, since the first look after the process was stopped for a while says nothing.
    private void Watch(object? state)
    {
        long now = Volatile.Read(ref _executions);
        _still = now == _seen ? _still + 1 : 0;
        if (_still == 2)
        {
            Console.WriteLine($"{target.Name}: HANGS, {Keep("hang", _running.AsSpan(0, _runningLength))}");
            Environment.Exit(2);
        }
        _seen = now;
    }

    private string Keep(string what, ReadOnlySpan<byte> input)
    {
        string path = Path.Combine(Directory.CreateDirectory(findings).FullName, $"{what}-{target.Name}-{Corpus.NameOf(input)}");
        File.WriteAllBytes(path, input);
        return path;
    }

    private void Print(TimeSpan elapsed) => Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{target.Name}: {_executions} executions in {elapsed.TotalSeconds:0} s ({_executions / Math.Max(elapsed.TotalSeconds, 0.001):0}/s), corpus {_corpus.Count}, edges {_coverage.Edges}, memory {GC.GetTotalMemory(false) >> 20} MiB"));
}
