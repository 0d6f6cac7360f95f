using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Reading the queue table: new rows from the last key on as they come, what was there before in pages from the newest back, so that new mail does
/// not wait for a million old ones, and rows that are due by their keys.
/// </summary>
internal sealed partial class QueueRunner
{
    private long _generation = -1;
    private long _lastKey;
    private volatile bool _mustRead;

    /// <summary>Reads what was in the table before; replaced by a newer one when the table was made again.</summary>
    private Task _loading = Task.CompletedTask;
    private int _moved;

    /// <summary>
    /// New mail from the spool, before it has a row: handed out where it can be tried now. What cannot (a mail server on the check list, or with a
    /// full hand) waits for its row; so does what comes back from an attempt.
    /// </summary>
    private void ReadTail()
    {
        lock (_gate)
        {
            IReadOnlyList<SpooledRecord> records;
            try
            {
                records = _tail.Read(RowsPerRead);
            }
            catch (IOException)
            {
                return; // the rows come all the same
            }
            foreach (Delivery delivery in records.SelectMany(record => _routes.Split(record.Envelope, record.Position, record.Size)))
            {
                if (_keeper.StillOpen(delivery) is { } open && HandOf(open) is null)
                    HandOut(open);
            }
            if (records.Count == RowsPerRead)
                HasRoom();
        }
    }

    /// <summary>Gives a delivery without a row to the mail server whose turn it is, if it can be tried now.</summary>
    private bool HandOut(Delivery delivery)
    {
        if (_routes.Named(delivery.Route) is not { } route
            || route.MailServers.Any(server => _checkList.IsListed(server) || QueueOf(server).Room <= 0))
        {
            return false;
        }
        Hold(delivery);
        QueueOf(_rotation.Take(route)).Add(delivery);
        _hasNewSummary = true;
        return true;
    }

    private async Task ReadNewAsync()
    {
        _mustRead = false;
        while (true)
        {
            (long generation, long after) = (_generation, _lastKey);
            (long Generation, long NextKey, SpoolPosition Mark, IReadOnlyList<Drain> Drains, IReadOnlyList<Delivery> Rows) read = await _store.RunAsync(table =>
                (table.Generation, table.NextKey, table.Mark(SpoolOwner.Server), table.Drains,
                    table.Generation == generation ? table.ReadAfter(after, RowsPerRead) : []));
            _checkList.SetDrains(read.Drains);
            if (read.Generation != generation)
            {
                lock (_gate)
                    _tail.SkipTo(read.Mark);
                StartOver(read.Generation, read.NextKey);
                continue;
            }
            lock (_gate)
            {
                foreach (Delivery row in read.Rows)
                {
                    _lastKey = row.Key;
                    Take(row);
                }
                if (read.Rows.Count < RowsPerRead)
                {
                    _tail.SkipTo(read.Mark);
                    return;
                }
            }
        }
    }

    /// <summary>Everything is read anew: at the start, after the table was made again, after the config changed.</summary>
    private void StartOver(long generation, long nextKey)
    {
        lock (_gate)
        {
            _schedule.Clear();
            _generation = generation;
            _lastKey = nextKey - 1;
            _moved = 0;
            _loading = LoadAsync(generation, nextKey);
        }
    }

    private async Task LoadAsync(long generation, long before)
    {
        try
        {
            while (!Stopping.IsCancellationRequested)
            {
                long below = before;
                (long Generation, IReadOnlyList<Delivery> Rows) read =
                    await _store.RunAsync(table => (table.Generation, table.ReadBefore(below, RowsPerRead)));
                lock (_gate)
                {
                    if (read.Rows.Count == 0 || read.Generation != generation || _generation != generation)
                        return;
                    before = read.Rows[0].Key;
                    foreach (Delivery row in read.Rows)
                        Take(row);
                }
                HasRoom();
            }
        }
        catch (Exception e) when (!Stopping.IsCancellationRequested)
        {
            Log.Unexpected("queue table", e);
        }
        catch
        {
            // The table is closed.
        }
    }

    /// <summary>A row that this process has not seen under this key.</summary>
    private void Take(Delivery row)
    {
        if (row.Replaces != 0)
            _schedule.Replaced(row.Replaces);
        if (row.Order == Order.Delete)
            _keeper.Forget(row);
        if (_keeper.StillOpen(row) is not { } open)
        {
            Delete(new Row(row, _generation));
            _hasNewSummary = true;
            return;
        }
        if (row is { Attempts: 0, Replaces: 0 } && (row.Position.Segment & 1) == 0)
            _tail.SkipOver(row.Position);
        if (HandOf(open) is { } hand)
        {
            hand.Replace(new Row(open, _generation));
            if (hand.Ended is { } change)
                EndAttempt(hand.Delivery, change);
        }
        else if (!Moved(open))
            Place(open);
    }

    /// <summary>Who has some of its recipients in hand.</summary>
    private InHand? HandOf(Delivery delivery)
    {
        foreach (OpenRecipient recipient in delivery.Recipients)
        {
            if (_active.TryGetValue((delivery.Position, recipient.Ordinal), out InHand? hand))
                return hand;
        }
        return null;
    }

    /// <summary>The config changed while this delivery was in flight or the process was not running: it takes its present route.</summary>
    private bool Moved(Delivery delivery)
    {
        RouteTable routes = _routes;
        if (delivery.Recipients.All(recipient => string.Equals(routes.NameFor(recipient.ForwardPath), delivery.Route, StringComparison.Ordinal)))
            return false;
        List<Delivery> now =
        [
            .. delivery.Recipients.GroupBy(recipient => routes.NameFor(recipient.ForwardPath), StringComparer.Ordinal)
                .Select(group => delivery with { Route = group.Key, Recipients = [.. group] }),
        ];
        _moved++;
        Write(_generation, table => table.Replace(delivery.Key, now), HasNews);
        return true;
    }

    /// <summary>Reads rows that are due, for every route whose mail servers have room.</summary>
    private void ReadDue()
    {
        lock (_gate)
        {
            foreach (RouteQueue route in _schedule.Routes)
            {
                if (route.Count == 0 || route.IsReading)
                    continue;
                if (_atDesk >= MailServerQueue.Capacity)
                    return;
                int room = _routes.Named(route.Name) is { } known ? known.MailServers.Max(server => QueueOf(server).Room) : RowsPerRead;
                if (room < Math.Min(route.Count, MailServerQueue.Capacity / 2))
                    continue;
                List<long> keys = _schedule.TakeKeys(route, Math.Min(room, RowsPerRead));
                if (keys.Count == 0)
                    continue;
                route.IsReading = true;
                _ = ReadAsync(route, keys, _generation);
            }
        }
    }

    private async Task ReadAsync(RouteQueue route, List<long> keys, long generation)
    {
        try
        {
            IReadOnlyList<Delivery> rows = await _store.RunAsync(table => table.Generation == generation ? table.Read(keys) : []);
            lock (_gate)
            {
                route.IsReading = false;
                // Another generation has read them anew.
                foreach (Delivery row in rows)
                {
                    if (_generation == generation && _keeper.StillOpen(row) is { } open && HandOf(open) is null)
                        Place(open, wasDue: true);
                }
            }
            HasRoom();
        }
        catch (Exception e)
        {
            lock (_gate)
                route.IsReading = false;
            Log.Unexpected("queue table", e);
        }
    }
}
