using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Reading the queue table: new rows from the last key on as they come, what was there before in pages from the newest back, so that new mail does
/// not wait for a million old ones, and rows that are due by their keys.
/// </summary>
internal sealed partial class QueueRunner
{
    private long _generation = -1;

    /// <summary>Which reading of the whole table this is: what an earlier one still has under way counts for nothing.</summary>
    private int _reading;
    private long _lastKey;
    private volatile bool _mustRead;

    /// <summary>How far the server's part of the spool is in the table, as this process last saw it.</summary>
    private SpoolPosition _mark;

    /// <summary>An end of the server's part that the mark should have reached by now, and for how many seconds it has not.</summary>
    private (SpoolPosition End, int Seconds) _awaited;

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
        TakeInHand(delivery);
        QueueOf(_rotation.Take(route)).Add(delivery);
        _hasNewSummary = true;
        return true;
    }

    private async Task ReadNewAsync()
    {
        _mustRead = false;
        while (true)
        {
            int reading;
            long generation, after;
            lock (_gate)
                (reading, generation, after) = (_reading, _generation, _lastKey);
            (long Generation, long NextKey, SpoolPosition Mark, IReadOnlyList<Drain> Drains, IReadOnlyList<Delivery> Rows) read = await Store.RunAsync(table =>
                (table.Generation, table.NextKey, table.Mark(SpoolOwner.Server), table.Drains,
                    table.Generation == generation ? table.ReadAfter(after, RowsPerRead) : []));
            _checkList.SetDrains(read.Drains);
            if (read.Generation != generation)
            {
                lock (_gate)
                    _tail.SkipTo(_mark = read.Mark);
                StartOver(read.Generation, read.NextKey);
                continue;
            }
            lock (_gate)
            {
                if (_reading != reading)
                    continue;
                foreach (Delivery row in read.Rows)
                {
                    _lastKey = row.Key;
                    if (row.Replaces != 0)
                        Log.Changed(row);
                    Take(row);
                }
                _mark = read.Mark;
                if (read.Rows.Count < RowsPerRead)
                {
                    _tail.SkipTo(_mark);
                    return;
                }
            }
        }
    }

    /// <summary>
    /// Whether mf-smtp-server owes rows for longer than it ever takes: it has ended right after it acknowledged mail, and may stay away. What the mail
    /// servers could not take at once would wait for it.
    /// </summary>
    private bool IsServerLate()
    {
        lock (_gate)
        {
            _awaited = _mark >= _awaited.End ? (_tail.End, 0) : (_awaited.End, _awaited.Seconds + 1);
            if (_awaited.Seconds < SecondsToIndex)
                return false;
            _awaited.Seconds = 0;
            return true;
        }
    }

    private async Task IndexForServerAsync()
    {
        try
        {
            await Store.RunAsync(table => Store.CatchUp(SpoolOwner.Server, table));
            HasNews();
        }
        catch (Exception e)
        {
            // At the end the table is closed under it.
            if (!Stopping.IsCancellationRequested)
                Log.Unexpected("queue table", e);
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
            _reading++;
            _loading = LoadAsync(_reading, nextKey);
        }
    }

    private async Task LoadAsync(int reading, long before)
    {
        try
        {
            while (!Stopping.IsCancellationRequested)
            {
                long below = before;
                (long Generation, IReadOnlyList<Delivery> Rows) read =
                    await Store.RunAsync(table => (table.Generation, table.ReadBefore(below, RowsPerRead)));
                lock (_gate)
                {
                    if (read.Rows.Count == 0 || _reading != reading || read.Generation != _generation)
                        return;
                    before = read.Rows[0].Key;
                    foreach (Delivery row in read.Rows)
                        Take(row);
                }
                HasRoom();
            }
        }
        catch (Exception e)
        {
            TableFailed(e);
        }
    }

    /// <summary>What was to be read or written is in nobody's hands now: the whole table is read again, and if that fails too, the process ends.</summary>
    private void TableFailed(Exception e)
    {
        // At the end the table is closed under those who use it.
        if (Stopping.IsCancellationRequested)
            return;
        Log.Unexpected("queue table", e);
        lock (_gate)
            _generation = -1;
        HasNews();
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
        IReadOnlyList<Delivery> now = routes.Reroute(delivery);
        _moved++;
        Write(_generation, table => table.Replace(delivery.Key, now), HasNews);
        return true;
    }

    /// <summary>Reads rows that are due, for every route whose mail servers have room.</summary>
    private void ReadDue()
    {
        lock (_gate)
        {
            foreach (RouteQueue route in _schedule.DueRoutes())
            {
                if (route.IsReading)
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
                _ = ReadAsync(route, keys);
            }
        }
    }

    private async Task ReadAsync(RouteQueue route, List<long> keys)
    {
        (int reading, long generation) = (_reading, _generation);
        try
        {
            IReadOnlyList<Delivery> rows = await Store.RunAsync(table => table.Generation == generation ? table.Read(keys) : []);
            lock (_gate)
            {
                route.IsReading = false;
                foreach (Delivery row in rows)
                {
                    if (_reading == reading && _keeper.StillOpen(row) is { } open && HandOf(open) is null)
                        Place(open, wasDue: true);
                }
            }
            HasRoom();
        }
        catch (Exception e)
        {
            lock (_gate)
                route.IsReading = false;
            TableFailed(e);
        }
    }
}
