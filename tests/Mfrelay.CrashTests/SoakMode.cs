using System.Diagnostics;
using System.Globalization;

namespace Mfrelay.CrashTests;

/// <summary>Many messages through the pair, and what it holds meanwhile: memory, handles, files. The last third may not have more than the first had.</summary>
internal static class SoakMode
{
    private const int Samples = 12;

    public static async Task<bool> RunAsync(Amount amount)
    {
        using var trial = new Trial("soak", amount.Seed, maxSize: 20_000, keepLines: false);
        await trial.Pair.StartAsync();
        var curve = new List<Sample>();
        Console.WriteLine("    messages  s      server RSS/anon MB  handles  client RSS/anon MB  handles  db KiB  spool KiB  files");
        long began = Stopwatch.GetTimestamp();
        for (int i = 1; i <= Samples; i++)
        {
            await trial.SendAsync(amount.Messages / Samples, 3600);
            await trial.Audit.WaitUntilEmptyAsync(Trial.DrainLimit);
            var sample = Sample.Take(trial, Stopwatch.GetElapsedTime(began));
            curve.Add(sample);
            Console.WriteLine($"    {sample}");
        }
        await trial.DrainAsync();
        Sample[] first = [.. curve.Skip(2).Take(3)], last = [.. curve.TakeLast(3)];
        Flat(trial, "anonymous memory of the server", first, last, sample => sample.Server.Anon, 1.3, 8 << 10);
        Flat(trial, "anonymous memory of the client", first, last, sample => sample.Client.Anon, 1.3, 8 << 10);
        Flat(trial, "handles of the server", first, last, sample => sample.Server.Handles, 1, 5);
        Flat(trial, "handles of the client", first, last, sample => sample.Client.Handles, 1, 70);
        Flat(trial, "mfrelay.db", first, last, sample => sample.Database, 1.5, 512);
        Flat(trial, "spool", first, last, sample => sample.Spool, 1, 200 << 10);
        return await trial.FinishAsync(1);
    }

    private static void Flat(Trial trial, string what, Sample[] first, Sample[] last, Func<Sample, long> of, double factor, long slack)
    {
        (long before, long after) = (first.Max(of), last.Min(of));
        if (after > before * factor + slack)
            trial.Wrong($"{what} grows: {before} to {after}");
    }

    private readonly record struct Held(long Rss, long Anon, int Handles)
    {
        public static Held By(int process)
        {
            string[] status = File.ReadAllLines($"/proc/{process}/status");
            long Field(string name) => long.Parse(
                status.First(line => line.StartsWith(name, StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1],
                CultureInfo.InvariantCulture);
            return new(Field("VmRSS:"), Field("RssAnon:"), Directory.GetFileSystemEntries($"/proc/{process}/fd").Length);
        }

        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Rss / 1024,8} / {Anon / 1024,-7} {Handles,9}");
    }

    /// <param name="Database">KiB, as the others.</param>
    private readonly record struct Sample(int Messages, TimeSpan Time, Held Server, Held Client, long Database, long Spool, int Files)
    {
        public static Sample Take(Trial trial, TimeSpan time)
        {
            FileInfo[] files = new DirectoryInfo(trial.Pair.Spool).GetFiles();
            long Length(FileInfo file)
            {
                file.Refresh();
                return file.Exists ? file.Length : 0;
            }
            return new(trial.Ledger.Acknowledged, time, Held.By(trial.Pair.Server!.Id), Held.By(trial.Pair.Client!.Id),
                new FileInfo(trial.Pair.Database).Length / 1024, files.Sum(Length) / 1024, files.Length);
        }

        public override string ToString() => string.Create(
            CultureInfo.InvariantCulture, $"{Messages,8}  {Time.TotalSeconds,5:F0} {Server} {Client}   {Database,6}  {Spool,9}  {Files,5}");
    }
}
