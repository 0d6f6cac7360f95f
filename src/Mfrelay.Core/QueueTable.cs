using LiteDB;

namespace Mfrelay.Core;

/// <summary>
/// The queue table during one turn of the lease: an index of the spool in mfrelay.db. Used inside <see cref="QueueStore.RunAsync"/> only.
/// <code>
/// queue: _id key, q queue id, s segment, o offset, z size, a arrival (ms), f reverse-path, r route, n ordinals, t forward-paths,
///        and when not their default: k attempts, x next attempt (ms), h hold, l last reply
/// meta:  _id 1, v version, g generation, f filled, k next key, s0 o0 s1 o1 how far the segments of server and client are indexed
/// </code>
/// Field names and numbers are frozen by a test. The key ascends, so "what is new" is a range of the primary index; there is no other index.
/// </summary>
public sealed partial class QueueTable
{
    private const int Version = 1;
    private static readonly BsonValue MetaId = new(1);

    private readonly ILiteCollection<BsonDocument> _queue;
    private readonly ILiteCollection<BsonDocument> _metaCollection;
    private readonly BsonDocument _meta;
    private bool _metaChanged;

    internal QueueTable(LiteDatabase database, long newGeneration)
    {
        _queue = database.GetCollection("queue", BsonAutoId.Int64);
        _health = database.GetCollection("health");
        _metaCollection = database.GetCollection("meta", BsonAutoId.Int32);
        BsonDocument? meta = _metaCollection.FindById(MetaId);
        if (meta is null)
        {
            meta = new BsonDocument { ["_id"] = MetaId, ["v"] = Version, ["g"] = newGeneration, ["k"] = 1L };
            _metaChanged = true;
        }
        if (meta["v"].AsInt32 > Version)
        {
            throw new StateException(
                $"mfrelay.db has format {meta["v"].AsInt32}; this program knows {Version}. Nothing was changed. Install the newer version again");
        }
        _meta = meta;
    }

    /// <summary>The database has been filled from the spool since it was made.</summary>
    internal bool IsFilled => _meta.ContainsKey("f");

    internal void SetFilled()
    {
        _meta["f"] = true;
        _metaChanged = true;
    }

    /// <summary>Another number means: the table was rebuilt, every key is another.</summary>
    public long Generation => _meta["g"].AsInt64;

    /// <summary>How far the spool segments of a process are in the table.</summary>
    public SpoolPosition Mark(SpoolOwner owner) =>
        _meta.TryGetValue($"s{(int)owner}", out BsonValue segment) ? new(segment.AsInt64, _meta[$"o{(int)owner}"].AsInt64) : default;

    public void SetMark(SpoolOwner owner, SpoolPosition end)
    {
        _meta[$"s{(int)owner}"] = end.Segment;
        _meta[$"o{(int)owner}"] = end.Offset;
        _metaChanged = true;
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

    public void Insert(IEnumerable<Delivery> deliveries)
    {
        long key = _meta["k"].AsInt64;
        foreach (Delivery delivery in deliveries)
            _queue.Insert(ToBson(delivery with { Key = key++ }));
        _meta["k"] = key;
        _metaChanged = true;
    }

    /// <summary>Rows above a key, in ascending order.</summary>
    public IReadOnlyList<Delivery> ReadAfter(long key, int limit) =>
        [.. _queue.Find(Query.GT("_id", key), 0, limit).Select(FromBson)];

    public Delivery? Find(long key) => _queue.FindById(key) is { } row ? FromBson(row) : null;

    /// <summary>False when the row is gone: somebody settled it meanwhile.</summary>
    public bool Update(Delivery delivery) => _queue.Update(ToBson(delivery));

    public bool Delete(long key) => _queue.Delete(key);

    public int Count() => _queue.Count();

    internal void SaveMeta()
    {
        if (_metaChanged)
            _metaCollection.Upsert(_meta);
        _metaChanged = false;
    }

    internal static BsonDocument ToBson(Delivery delivery)
    {
        var row = new BsonDocument
        {
            ["_id"] = delivery.Key,
            ["q"] = delivery.Id.Value,
            ["s"] = delivery.Position.Segment,
            ["o"] = delivery.Position.Offset,
            ["z"] = delivery.Size,
            ["a"] = delivery.Arrival.ToUnixTimeMilliseconds(),
            ["f"] = delivery.ReversePath,
            ["r"] = delivery.Route,
        };
        var ordinals = new BsonArray();
        var addresses = new BsonArray();
        foreach (OpenRecipient recipient in delivery.Recipients)
        {
            ordinals.Add(recipient.Ordinal);
            addresses.Add(recipient.ForwardPath);
        }
        row["n"] = ordinals;
        row["t"] = addresses;
        if (delivery.Attempts != 0)
            row["k"] = delivery.Attempts;
        if (delivery.NextAttempt != default)
            row["x"] = delivery.NextAttempt.ToUnixTimeMilliseconds();
        if (delivery.Hold)
            row["h"] = true;
        if (delivery.LastReply.Length > 0)
            row["l"] = delivery.LastReply;
        return row;
    }

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
        };
    }
}
