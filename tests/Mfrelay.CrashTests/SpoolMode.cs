using System.Globalization;
using System.Text;
using Mfrelay.Core;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.CrashTests;

/// <summary>
/// Records of the spool with a flipped bit, and segments that end early, with the database and without it. What has been damaged must not come and must
/// leave a line; all else must come.
/// </summary>
internal static class SpoolMode
{
    public static async Task<bool> RunAsync(Amount amount)
    {
        int rounds = 0, hurt = 0, seen = 0;
        bool good = true;
        for (; rounds < amount.Rounds; rounds++)
        {
            (bool isGood, int damaged, int lines) = await RoundAsync(amount.Seed + rounds, amount.Messages);
            good &= isGood;
            hurt += damaged;
            seen += lines;
        }
        Console.WriteLine($"spool: rounds {rounds}, records damaged {hurt}, set aside or held with a line {seen}");
        return good;
    }

    private static async Task<(bool Good, int Damaged, int Seen)> RoundAsync(int seed, int messages)
    {
        using var trial = new Trial($"spool, seed {seed}", seed, maxSize: 600_000);
        await trial.Pair.StartAsync();
        trial.Target.Stop();
        await trial.SendAsync(messages);
        await trial.Pair.StopAsync();
        List<SpooledId> records = [.. Records(trial.Pair.Spool)];
        HashSet<int> damaged = Damage(trial, records);
        foreach (int id in damaged)
            trial.Ledger.GiveUp(id);
        bool withoutTable = trial.Random.Next(2) == 0;
        if (withoutTable)
            File.Delete(trial.Pair.Database);

        trial.Target.Start();
        await trial.Pair.StartAsync();
        for (int i = 0; i < 600 && trial.Ledger.Missing().Length > 0; i++)
            await Task.Delay(100);
        // What is damaged is tried soon, too.
        await Task.Delay(1500);
        trial.Check();
        foreach (int id in damaged.Where(trial.Ledger.HasArrived))
            trial.Wrong($"{id} came although its record is damaged");
        int held = trial.Pair.Count("ERROR_b401"), aside = trial.Pair.Count("WARN_c304");
        // One place that is set aside may hold several records, and a record that has no line is one that is held.
        int places = Directory.Exists(Aside(trial)) ? Directory.GetFiles(Aside(trial)).Length : 0;
        if (held + aside == 0)
            trial.Wrong("no line");
        if (places != aside)
            trial.Wrong($"{aside} lines and {places} files");
        if (!withoutTable && held < damaged.Count)
            trial.Wrong($"{damaged.Count} damaged, {held} held");
        bool good = await trial.FinishAsync(1, $", damaged {damaged.Count}, held {held}, set aside {aside}{(withoutTable ? ", database deleted" : "")}", expectEmpty: false, expectErrors: true);
        return (good, damaged.Count, held + aside);
    }

    private static string Aside(Trial trial) => Path.Join(trial.Pair.StateDirectory, "queue", "damaged");

    private static HashSet<int> Damage(Trial trial, List<SpooledId> records)
    {
        HashSet<int> damaged = [];
        foreach (SpooledId record in records.OrderBy(_ => trial.Random.Next()).Take(trial.Random.Next(1, 6)))
        {
            string path = record.LargeFile is { } file && trial.Random.Next(2) == 0 ? file : record.Path;
            bool large = !string.Equals(path, record.Path, StringComparison.Ordinal);
            if (large && trial.Random.Next(2) == 0)
                Shorten(path, trial.Random.NextInt64(new FileInfo(path).Length));
            else
                Flip(path, large ? trial.Random.NextInt64(new FileInfo(path).Length) : record.Offset + trial.Random.NextInt64(record.Length), trial.Random.Next(8));
            damaged.Add(record.Id);
        }
        if (trial.Random.Next(3) == 0)
        {
            // The segment ends within one of its last records.
            SpooledId cut = records[^trial.Random.Next(1, 4)];
            Shorten(cut.Path, cut.Offset + trial.Random.NextInt64(1, cut.Length));
            damaged.UnionWith(records.Where(record => string.Equals(record.Path, cut.Path, StringComparison.Ordinal) && record.Offset >= cut.Offset).Select(record => record.Id));
        }
        return damaged;
    }

    private static void Flip(string path, long at, int bit)
    {
        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
        Span<byte> octet = stackalloc byte[1];
        RandomAccess.Read(file, octet, at);
        octet[0] ^= (byte)(1 << bit);
        RandomAccess.Write(file, octet, at);
    }

    private static void Shorten(string path, long length)
    {
        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
        RandomAccess.SetLength(file, length);
    }

    /// <summary>All messages, with the number that the source gave them.</summary>
    private static IEnumerable<SpooledId> Records(string spool)
    {
        foreach (long segment in SpoolScanner.Segments(spool))
        {
            string path = Path.Join(spool, SpoolFormat.SegmentName(segment));
            foreach (ScannedRecord record in SpoolScanner.Scan(spool, segment, 0, checkData: false).Where(record => record.Envelope is not null))
            {
                string? large = record.Head.Kind == RecordKind.LargeMessage ? Path.Join(spool, SpoolFormat.LargeDataName(record.Head.Id)) : null;
                long length = SpoolFormat.HeadLength + record.Head.EnvelopeLength + record.Head.InlineLength;
                byte[] bytes = new byte[(int)Math.Min(4096, large is null ? length : 4096)];
                using SafeFileHandle file = File.OpenHandle(large ?? path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
                int n = RandomAccess.Read(file, bytes, large is null ? record.Position.Offset : 0);
                string text = Encoding.Latin1.GetString(bytes, 0, n);
                int at = text.IndexOf("Message-ID: <", StringComparison.Ordinal) + 13;
                yield return new(int.Parse(text[at..text.IndexOf('@', at)], CultureInfo.InvariantCulture), path, record.Position.Offset, length, large);
            }
        }
    }

    private readonly record struct SpooledId(int Id, string Path, long Offset, long Length, string? LargeFile);
}
