using LiteDB;

namespace Mfrelay.Core;

/// <summary>
/// The queue table during one turn of the lease: an index of the spool in mfrelay.db. Used inside <see cref="QueueStore.RunAsync"/> only.
/// <code>
/// queue: a leaf: _id lowest key that it may have, b rows (<see cref="PackedRows"/>); version 2: e rows as documents; version 1: a row as a document:
///        _id key, q queue id, s segment, o offset, z size, a arrival (ms), f reverse-path, r route, n ordinals, t forward-paths, and when not
///        their default: k attempts, x next attempt (ms), h hold, l last reply, w sender warned of the delay, u order, p the key of the row
///        whose place this one took
/// meta:  _id 1, v version, g generation, c changes, f filled, k next key, s0 o0 s1 o1 how far the segments of server and client are indexed
/// </code>
/// Field names and numbers are frozen by a test. The key ascends, so "what is new" is a range of the primary index; there is no other index.
/// LiteDB reads pages late and has no checksums: whatever comes out of it, of whatever type, is a <see cref="BrokenTableException"/> here.
/// </summary>
public sealed partial class QueueTable
{
    /// <summary>2: with leaves; 3: packed. What is older is read as it is, and written anew when it changes; from the first change on the table is 3.</summary>
    private const int Version = 3;
    private static readonly BsonValue MetaId = new(1);

    private readonly ILiteCollection<BsonDocument> _queue;
    private readonly ILiteCollection<BsonDocument> _metaCollection;
    private readonly BsonDocument _meta;
    private readonly Action? _beforeChange;
    private bool _changed;

    /// <param name="beforeChange">Called before the first change: throws IOException when there is no room for one.</param>
    internal QueueTable(LiteDatabase database, long newGeneration, Action? beforeChange = null)
    {
        _queue = database.GetCollection("queue", BsonAutoId.Int64);
        _health = database.GetCollection("health");
        _summary = database.GetCollection("summary");
        _metaCollection = database.GetCollection("meta", BsonAutoId.Int32);
        _beforeChange = beforeChange;
        _meta = FromLiteDb(newGeneration, static (table, generation) => table._metaCollection.FindById(MetaId) is { } meta
            ? CheckMeta(meta)
            : new BsonDocument { ["_id"] = MetaId, ["v"] = Version, ["g"] = generation, ["c"] = 0L, ["k"] = 1L });
    }

    private static BsonDocument CheckMeta(BsonDocument meta)
    {
        if (meta["v"].AsInt32 > Version)
        {
            throw new StateException(
                $"mfrelay.db has format {meta["v"].AsInt32}; this program knows {Version}. Nothing was changed. Install the newer version again");
        }
        _ = meta["g"].AsInt64 + meta["c"].AsInt64 + meta["k"].AsInt64;
        return meta;
    }

    /// <summary>The database has been filled from the spool since it was made.</summary>
    internal bool IsFilled => _meta.ContainsKey("f");

    internal void SetFilled()
    {
        BeginChange();
        _meta["f"] = true;
    }

    /// <summary>Another number means: the table was rebuilt, every key is another.</summary>
    public long Generation => _meta["g"].AsInt64;

    /// <summary>Ascends with every transaction that changes something: what tells an older copy of the database from the real one.</summary>
    internal DatabaseState State => new(Generation, _meta["c"].AsInt64);

    /// <summary>How far the spool segments of a process are in the table.</summary>
    public SpoolPosition Mark(SpoolOwner owner) =>
        _meta.TryGetValue($"s{(int)owner}", out BsonValue segment) ? new(segment.AsInt64, _meta[$"o{(int)owner}"].AsInt64) : default;

    public void SetMark(SpoolOwner owner, SpoolPosition end)
    {
        if (Mark(owner) == end)
            return;
        BeginChange();
        _meta[$"s{(int)owner}"] = end.Segment;
        _meta[$"o{(int)owner}"] = end.Offset;
    }

    /// <summary>
    /// Adds rows for what lies between two marks of an owner's segments. A mark that is not where the caller left it (the database
    /// was made again, an older copy was put in its place) is brought up by <paramref name="catchUp"/> instead.
    /// </summary>
    public void InsertUpTo(SpoolOwner owner, SpoolPosition from, SpoolPosition to, IEnumerable<Delivery> deliveries, Action<QueueTable> catchUp)
    {
        SpoolPosition mark = Mark(owner);
        if (mark >= to)
            return;
        if (mark == from)
        {
            Insert(deliveries);
            SetMark(owner, to);
        }
        else
        {
            catchUp(this);
        }
    }

    /// <summary>
    /// How anybody but mf-smtp-client changes a row: it goes, and what takes its place comes under new keys, which mf-smtp-client reads as
    /// news. False when the row is gone.
    /// </summary>
    public bool Replace(long key, params IReadOnlyList<Delivery> rows)
    {
        if (!Delete(key))
            return false;
        Insert(rows.Select(row => row with { Replaces = key }));
        return true;
    }

    /// <summary>No row has this key, or a higher one.</summary>
    public long NextKey => _meta["k"].AsInt64;

    /// <summary>Last in a transaction that changed something.</summary>
    internal void SaveMeta()
    {
        if (!_changed)
            return;
        _meta["c"] = _meta["c"].AsInt64 + 1;
        _meta["v"] = Version;
        FromLiteDb(0, static (table, _) =>
        {
            table.WriteLeaves();
            return table._metaCollection.Upsert(table._meta);
        });
        _changed = false;
    }

    private void BeginChange()
    {
        if (!_changed)
            _beforeChange?.Invoke();
        _changed = true;
    }

    private T FromLiteDb<TArgument, T>(TArgument argument, Func<QueueTable, TArgument, T> act)
    {
        try
        {
            return act(this, argument);
        }
        catch (Exception e) when (BrokenTableException.IsBroken(e))
        {
            throw new BrokenTableException(e);
        }
    }

    /// <summary>A row of version 1 or 2.</summary>
    internal static Delivery FromBson(BsonDocument row)
    {
        BsonArray ordinals = row["n"].AsArray;
        BsonArray addresses = row["t"].AsArray;
        var recipients = new OpenRecipient[ordinals.Count];
        for (int i = 0; i < recipients.Length; i++)
            recipients[i] = new OpenRecipient(ordinals[i].AsInt32, addresses[i].AsString);
        return new Delivery
        {
            Key = row["_id"].AsInt64,
            Id = new QueueId(row["q"].AsInt64),
            Position = new SpoolPosition(row["s"].AsInt64, row["o"].AsInt64),
            Size = row["z"].AsInt64,
            Arrival = DateTimeOffset.FromUnixTimeMilliseconds(row["a"].AsInt64),
            ReversePath = row["f"].AsString,
            Route = row["r"].AsString,
            Recipients = recipients,
            Attempts = row.TryGetValue("k", out BsonValue attempts) ? attempts.AsInt32 : 0,
            NextAttempt = row.TryGetValue("x", out BsonValue next) ? DateTimeOffset.FromUnixTimeMilliseconds(next.AsInt64) : default,
            Hold = row.ContainsKey("h"),
            LastReply = row.TryGetValue("l", out BsonValue reply) ? reply.AsString : "",
            Warned = row.ContainsKey("w"),
            Order = row.TryGetValue("u", out BsonValue order) ? (Order)order.AsInt32 : Order.None,
            Replaces = row.TryGetValue("p", out BsonValue replaces) ? replaces.AsInt64 : 0,
        };
    }
}

/// <summary>Which state of the database this is. A lower one than was seen before is an older copy.</summary>
internal readonly record struct DatabaseState(long Generation, long Changes)
{
    public bool IsOlderThan(DatabaseState other) =>
        Generation < other.Generation || (Generation == other.Generation && Changes < other.Changes);
}

/// <summary>The database cannot be read or does not make sense: it is made again from the spool.</summary>
internal sealed class BrokenTableException(string message, Exception? inner = null) : Exception(message, inner)
{
    public BrokenTableException(Exception reason) : this(reason.Message, reason)
    {
    }

    /// <summary>False for what says nothing about the file: no room or no file handles left, a newer version's format.</summary>
    public static bool IsBroken(Exception e) => e is not (BrokenTableException or StateException) && !SpoolWriter.Passes(e);
}
