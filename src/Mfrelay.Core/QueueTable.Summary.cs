using LiteDB;

namespace Mfrelay.Core;

/// <summary>
/// What waits for one route, as mf-smtp-client last saw it: so that nobody has to read a million rows to know how many there are.
/// </summary>
/// <param name="Count">Deliveries, those on hold included.</param>
/// <param name="Octets">Of mail data; each delivery is counted in KiB, rounded up.</param>
/// <param name="Active">Those given to a mail server or being tried.</param>
/// <param name="Oldest">Arrival of the oldest.</param>
/// <param name="NextDue">Next attempt; the minimum value: now; the maximum value: never, all are on hold.</param>
/// <param name="LastReply">What the last attempt that failed ended with.</param>
public sealed record RouteSummary(
    string Route, int Count, long Octets, int Held, int Active, DateTimeOffset Oldest, DateTimeOffset NextDue, string LastReply);

/// <summary>All routes that have mail, when that was, and the last row that is counted: those above it are not in it.</summary>
public sealed record QueueSummary(DateTimeOffset Time, long LastKey, IReadOnlyList<RouteSummary> Routes);

/// <summary>
/// The summary of the queue. Written by mf-smtp-client some seconds after something changed.
/// <code>
/// summary: _id route (the empty one: of all), n deliveries, b octets, h held, i active, a oldest arrival, x next due, l last reply;
///          and of all: t time, k last key                                                                     (times in ms, 0: none)
/// </code>
/// </summary>
public sealed partial class QueueTable
{
    private readonly ILiteCollection<BsonDocument> _summary;

    /// <summary>Puts a new summary in the place of the old one.</summary>
    public void PutSummary(QueueSummary summary)
    {
        BeginChange();
        FromLiteDb(summary, static (table, summary) =>
        {
            table._summary.DeleteAll();
            table._summary.Insert(new BsonDocument { ["_id"] = "", ["t"] = Milliseconds(summary.Time), ["k"] = summary.LastKey });
            return table._summary.Insert(summary.Routes.Select(route => new BsonDocument
            {
                ["_id"] = route.Route.Length == 0 ? "-" : route.Route,
                ["n"] = route.Count,
                ["b"] = route.Octets,
                ["h"] = route.Held,
                ["i"] = route.Active,
                ["a"] = Milliseconds(route.Oldest),
                ["x"] = Milliseconds(route.NextDue),
                ["l"] = route.LastReply,
            }));
        });
    }

    /// <summary>The last summary; null when mf-smtp-client has not written one since the table was made.</summary>
    public QueueSummary? ReadSummary() =>
        FromLiteDb(0, static (table, _) =>
        {
            BsonDocument[] rows = [.. table._summary.FindAll()];
            if (Array.Find(rows, row => row["_id"].AsString.Length == 0) is not { } all)
                return null;
            return new QueueSummary(Time(all["t"].AsInt64), all["k"].AsInt64,
            [
                .. rows.Where(row => row["_id"].AsString.Length > 0).Select(row => new RouteSummary(
                    row["_id"].AsString, row["n"].AsInt32, row["b"].AsInt64, row["h"].AsInt32, row["i"].AsInt32,
                    Time(row["a"].AsInt64), Time(row["x"].AsInt64), row["l"].AsString)),
            ]);
        });
}
