using LiteDB;

namespace Mfrelay.Core;

/// <summary>
/// The health table (S2, C11), in the same database: a row per process, mail server and domain. Each process writes its own rows only.
/// <code>
/// health: _id "owner domain address", w owner, d domain, h host, p port, s state, c since, k last check, n failures, e last error,
///         x next check, a extensions, z size limit, t TLS, y certificate expiry, m last delivery          (times in ms, 0: none)
/// </code>
/// </summary>
public sealed partial class QueueTable
{
    private readonly ILiteCollection<BsonDocument> _health;

    public void PutHealth(MailServerHealth health)
    {
        BeginChange();
        FromLiteDb(health, static (table, health) => table._health.Upsert(ToBson(health)));
    }

    public void DeleteHealth(MailServerHealth health)
    {
        BeginChange();
        FromLiteDb(health, static (table, health) => table._health.Delete(HealthId(health)));
    }

    /// <summary>The rows of both processes.</summary>
    public IReadOnlyList<MailServerHealth> ReadHealth() =>
        FromLiteDb(0, static (table, _) => table._health.FindAll().Select(HealthFromBson).ToArray());

    internal static BsonDocument ToBson(MailServerHealth health) => new()
    {
        ["_id"] = HealthId(health),
        ["w"] = (int)health.Owner,
        ["d"] = health.Domain,
        ["h"] = health.Host,
        ["p"] = health.Port,
        ["s"] = (int)health.State,
        ["c"] = Milliseconds(health.Since),
        ["k"] = Milliseconds(health.LastCheck),
        ["n"] = health.Failures,
        ["e"] = health.LastError,
        ["x"] = Milliseconds(health.NextCheck),
        ["a"] = health.Announced.Extensions,
        ["z"] = health.Announced.SizeLimit,
        ["t"] = health.Announced.Tls,
        ["y"] = Milliseconds(health.Announced.CertificateExpiry),
        ["m"] = Milliseconds(health.LastDelivery),
    };

    internal static MailServerHealth HealthFromBson(BsonDocument row) => new()
    {
        Owner = (HealthOwner)row["w"].AsInt32,
        Domain = row["d"].AsString,
        Host = row["h"].AsString,
        Port = row["p"].AsInt32,
        State = (HealthState)row["s"].AsInt32,
        Since = Time(row["c"].AsInt64),
        LastCheck = Time(row["k"].AsInt64),
        Failures = row["n"].AsInt32,
        LastError = row["e"].AsString,
        NextCheck = Time(row["x"].AsInt64),
        Announced = new Announcement(row["a"].AsString, row["z"].AsInt64, row["t"].AsString, Time(row["y"].AsInt64)),
        LastDelivery = Time(row["m"].AsInt64),
    };

    private static string HealthId(MailServerHealth health) => $"{(int)health.Owner} {health.Key}";

    private static long Milliseconds(DateTimeOffset time) =>
        time == default ? 0 : time == DateTimeOffset.MaxValue ? long.MaxValue : time.ToUnixTimeMilliseconds();

    private static DateTimeOffset Time(long milliseconds) =>
        milliseconds == 0 ? default : milliseconds == long.MaxValue ? DateTimeOffset.MaxValue : DateTimeOffset.FromUnixTimeMilliseconds(milliseconds);
}
