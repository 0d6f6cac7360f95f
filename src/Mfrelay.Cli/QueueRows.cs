using System.Globalization;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>The rows of the queue table for a command: in pages, so that the daemons never wait long for their turn.</summary>
internal sealed class QueueRows(QueueStore store, Progress progress)
{
    private const int RowsPerRead = 1000;

    /// <summary>Rows above a key, without those that are deleted already.</summary>
    public async IAsyncEnumerable<Delivery> ReadAsync(long after = 0)
    {
        int read = 0;
        while (true)
        {
            long last = after;
            IReadOnlyList<Delivery> rows = await store.RunAsync(table => table.ReadAfter(last, RowsPerRead));
            foreach (Delivery row in rows)
            {
                after = row.Key;
                if (row.Order != Order.Delete)
                    yield return row;
            }
            progress.Report(read += rows.Count);
            if (rows.Count < RowsPerRead)
                break;
        }
        progress.Clear();
    }

    public async Task<List<Delivery>> FindAsync(QueueId id)
    {
        var found = new List<Delivery>();
        await foreach (Delivery row in ReadAsync())
        {
            if (row.Id == id)
                found.Add(row);
        }
        return found;
    }
}

/// <summary>A count that runs while somebody waits at a terminal; nothing anywhere else.</summary>
internal sealed class Progress(TextWriter error, TimeProvider time, string what)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);
    private readonly bool _isShown = ReferenceEquals(error, Console.Error) && !Console.IsErrorRedirected;
    private readonly long _start = time.GetTimestamp();
    private TimeSpan _last;
    private bool _dirty;

    public void Report(int count, int? of = null)
    {
        TimeSpan now = time.GetElapsedTime(_start);
        if (!_isShown || now - _last < Interval)
            return;
        (_last, _dirty) = (now, true);
        string total = of is null ? "" : string.Create(CultureInfo.InvariantCulture, $" / {of:#,0}");
        error.Write(string.Create(CultureInfo.InvariantCulture, $"\r{what} {count:#,0}{total} "));
        error.Flush();
    }

    public void Clear()
    {
        if (_dirty)
            error.Write("\r\u001b[K");
        _dirty = false;
    }
}
