using LiteDB;

namespace Mfrelay.Core;

/// <summary>
/// The rows. What LiteDB takes for a document is much the same for one row as for sixteen, so rows that are inserted together share one, a leaf.
/// A leaf has the keys from a multiple of sixteen on, so that the key of a row says where it is; a row of version 1 is a document of its own.
/// A leaf is read once in a transaction and written once, at its end; one all of whose rows go is not even read.
/// </summary>
public sealed partial class QueueTable
{
    private const int LeafRows = PackedRows.Most;

    /// <summary>A row with many recipients is not written again with each of fifteen others.</summary>
    private const int LeafRecipients = 64;

    private static readonly BsonExpression ById = BsonExpression.Create("_id");

    private readonly Dictionary<long, Leaf> _leaves = [];

    /// <summary>Of leaves that were not read in this transaction: the keys that they had at most, and those that go.</summary>
    private readonly Dictionary<long, (int Mates, int Going)> _going = [];

    public void Insert(IEnumerable<Delivery> deliveries)
    {
        var leaf = new List<Delivery>(LeafRows);
        int recipients = 0;
        long key = 0;
        foreach (Delivery delivery in deliveries)
        {
            BeginChange();
            if (leaf.Count == LeafRows || recipients + delivery.Recipients.Count > LeafRecipients)
                InsertLeaf(leaf);
            if (leaf.Count == 0)
                (key, recipients) = (FirstOfLeaf(NextKey + LeafRows - 1), 0);
            leaf.Add(delivery with { Key = key });
            recipients += delivery.Recipients.Count;
            _meta["k"] = ++key;
        }
        InsertLeaf(leaf);
    }

    // The key as a parameter: LiteDB compiles each text of an expression and keeps it for ever, and Query.GT puts the number into the text.
    /// <summary>Rows above a key, in ascending order.</summary>
    public IReadOnlyList<Delivery> ReadAfter(long key, int limit) =>
        FromLiteDb((key, limit), static (table, range) =>
        {
            table.WriteLeaves();
            Delivery[] rows = [.. table._queue.Find(BsonExpression.Create("_id >= @0", FirstOfLeaf(range.key)))
                .SelectMany(RowsOf).Where(row => row.Key > range.key).Take(range.limit)];
            return rows;
        });

    /// <summary>The last rows below a key, in ascending order.</summary>
    public IReadOnlyList<Delivery> ReadBefore(long key, int limit) =>
        FromLiteDb((key, limit), static (table, range) =>
        {
            table.WriteLeaves();
            Delivery[] rows = [.. table._queue.Query().Where(BsonExpression.Create("_id < @0", range.key)).OrderByDescending(ById).ToEnumerable()
                .SelectMany(document => Enumerable.Reverse(RowsOf(document))).Where(row => row.Key < range.key).Take(range.limit)];
            Array.Reverse(rows);
            return rows;
        });

    /// <summary>Those of some rows that are there.</summary>
    public IReadOnlyList<Delivery> Read(IReadOnlyList<long> keys) =>
        FromLiteDb(keys, static (table, keys) =>
        {
            table.LoadTogether(keys);
            var rows = new List<Delivery>(keys.Count);
            foreach (long key in keys)
            {
                if (table.LeafOf(key, out int at) is { } leaf)
                    rows.Add(leaf.Rows[at]);
            }
            return rows;
        });

    /// <summary>False when the row is gone: somebody settled it meanwhile.</summary>
    public bool Update(Delivery delivery)
    {
        BeginChange();
        return FromLiteDb(delivery, static (table, delivery) =>
        {
            if (table.LeafOf(delivery.Key, out int at) is not { } leaf)
                return false;
            leaf.Rows[at] = delivery;
            return leaf.IsChanged = true;
        });
    }

    public bool Delete(long key)
    {
        BeginChange();
        return FromLiteDb(key, static (table, key) =>
        {
            if (table.LeafOf(key, out int at) is not { } leaf)
                return false;
            leaf.Rows.RemoveAt(at);
            return leaf.IsChanged = true;
        });
    }

    /// <summary>Deletes a row that was read from the table, when it is still there.</summary>
    public void Delete(Delivery row)
    {
        long first = FirstOfLeaf(row.Key);
        if (row.LeafMates == 0 || _leaves.ContainsKey(first))
        {
            Delete(row.Key);
            return;
        }
        BeginChange();
        (int mates, int going) = _going.GetValueOrDefault(first, (row.LeafMates, 0));
        _going[first] = (mates & row.LeafMates, going | BitOf(row.Key));
    }

    private void InsertLeaf(List<Delivery> rows)
    {
        if (rows.Count > 0)
            FromLiteDb(rows, static (table, rows) => table._queue.Insert(DocumentOf(rows[0].Key, rows)));
        rows.Clear();
    }

    /// <summary>Where a row is; null when it is nowhere.</summary>
    private Leaf? LeafOf(long key, out int at)
    {
        long first = FirstOfLeaf(key);
        Leaf leaf = Load(first);
        at = leaf.IndexOf(key);
        if (at < 0 && key != first)
        {
            leaf = Load(key); // of version 1
            at = leaf.IndexOf(key);
        }
        return at < 0 ? null : leaf;
    }

    /// <summary>Leaves that lie close together come with one search; those that do not are left to <see cref="Load"/>.</summary>
    private void LoadTogether(IReadOnlyList<long> keys)
    {
        long[] ids = [.. keys.Select(FirstOfLeaf).Distinct().Where(id => !_leaves.ContainsKey(id) && !_going.ContainsKey(id)).Order()];
        if (ids.Length < 2 || (ids[^1] - ids[0]) / LeafRows >= 2 * ids.Length)
            return;
        foreach (BsonDocument document in _queue.Find(BsonExpression.Create("_id BETWEEN @0 AND @1", ids[0], ids[^1])))
        {
            if (Array.BinarySearch(ids, document["_id"].AsInt64) >= 0)
                _leaves.Add(document["_id"].AsInt64, new Leaf(RowsOf(document)));
        }
    }

    private Leaf Load(long id)
    {
        if (_leaves.TryGetValue(id, out Leaf? leaf))
            return leaf;
        leaf = new Leaf(_queue.FindById(id) is { } document ? RowsOf(document) : []);
        if (_going.Remove(id, out (int Mates, int Going) rows))
            leaf.IsChanged = leaf.Rows.RemoveAll(row => (rows.Going & BitOf(row.Key)) != 0) > 0;
        _leaves.Add(id, leaf);
        return leaf;
    }

    private void WriteLeaves()
    {
        foreach ((long id, (int mates, int going)) in _going.ToArray())
        {
            if ((mates & ~going) == 0)
                _queue.Delete(id);
            else
                Load(id);
        }
        _going.Clear();
        foreach ((long id, Leaf leaf) in _leaves)
        {
            if (!leaf.IsChanged)
                continue;
            if (leaf.Rows.Count == 0)
                _queue.Delete(id);
            else
                _queue.Update(DocumentOf(id, leaf.Rows));
            leaf.IsChanged = false;
        }
    }

    private static BsonDocument DocumentOf(long id, List<Delivery> rows) => new() { ["_id"] = id, ["b"] = PackedRows.Write(id, rows) };

    private static List<Delivery> RowsOf(BsonDocument document)
    {
        if (document.TryGetValue("b", out BsonValue packed))
            return PackedRows.Read(document["_id"].AsInt64, packed.AsBinary, MatesOf);
        List<Delivery> rows = document.TryGetValue("e", out BsonValue leaf) ? [.. leaf.AsArray.Select(static row => FromBson(row.AsDocument))] : [FromBson(document)];
        ushort mates = MatesOf([.. rows.Select(row => row.Key)]);
        return [.. rows.Select(row => row with { LeafMates = mates })];
    }

    /// <summary>0 for one row of version 1, whose document is not that of its leaf.</summary>
    private static ushort MatesOf(IReadOnlyList<long> keys)
    {
        if (keys is [var key] && key != FirstOfLeaf(key))
            return 0;
        int mates = 0;
        for (int i = 0; i < keys.Count; i++)
            mates |= BitOf(keys[i]);
        return (ushort)mates;
    }

    private static int BitOf(long key) => 1 << (int)(key & (LeafRows - 1));

    private static long FirstOfLeaf(long key) => key & -LeafRows;

    /// <summary>Rows in the order of their keys; none when there is no such document.</summary>
    private sealed class Leaf(List<Delivery> rows)
    {
        public List<Delivery> Rows { get; } = rows;

        public bool IsChanged { get; set; }

        public int IndexOf(long key)
        {
            for (int i = 0; i < Rows.Count; i++)
            {
                if (Rows[i].Key == key)
                    return i;
            }
            return -1;
        }
    }
}
