using LiteDB;

namespace Mfrelay.Core;

/// <summary>An operator keeps mail off a mail server: mf-smtp-client treats it as listed, without checking it.</summary>
/// <param name="Key">The <see cref="MailServer.Key"/>.</param>
/// <param name="Until">When it ends by itself; the maximum value: when it is resumed.</param>
public sealed record Drain(string Key, DateTimeOffset Since, DateTimeOffset Until, string Reason);

/// <summary>
/// Drains stand in the meta row, which every turn reads anyway, as "d", an array that is left out when there are none:
/// <code>
/// k key of the mail server, s since, u until, r reason            (times in ms)
/// </code>
/// Written by the command; like holds, they are gone when the table is made again.
/// </summary>
public sealed partial class QueueTable
{
    public IReadOnlyList<Drain> Drains => FromLiteDb(0, static (table, _) => table._meta.TryGetValue("d", out BsonValue drains)
        ? (IReadOnlyList<Drain>)[.. drains.AsArray.Select(DrainFromBson)]
        : []);

    public void SetDrains(IEnumerable<Drain> drains)
    {
        BeginChange();
        var all = new BsonArray(drains.Select(drain => new BsonDocument
        {
            ["k"] = drain.Key,
            ["s"] = Milliseconds(drain.Since),
            ["u"] = Milliseconds(drain.Until),
            ["r"] = drain.Reason,
        }));
        if (all.Count > 0)
            _meta["d"] = all;
        else
            _meta.Remove("d");
    }

    private static Drain DrainFromBson(BsonValue drain) =>
        new(drain["k"].AsString, Time(drain["s"].AsInt64), Time(drain["u"].AsInt64), drain["r"].AsString);
}
