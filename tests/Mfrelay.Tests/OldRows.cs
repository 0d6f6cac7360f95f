using LiteDB;
using Mfrelay.Core;

namespace Mfrelay.Tests;

/// <summary>Rows of the queue table as versions 1 and 2 wrote them.</summary>
internal static class OldRows
{
    /// <summary>The documents of some rows: one each, or with version 2 one for those of a leaf.</summary>
    public static IEnumerable<BsonDocument> Documents(int version, IEnumerable<Delivery> rows) => version == 1
        ? rows.Select(ToBson)
        : rows.GroupBy(row => row.Key & -16).Select(leaf => new BsonDocument { ["_id"] = leaf.Key, ["e"] = new BsonArray(leaf.Select(ToBson)) });

    public static BsonDocument ToBson(Delivery delivery)
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
        if (delivery.Warned)
            row["w"] = true;
        if (delivery.Order != Order.None)
            row["u"] = (int)delivery.Order;
        if (delivery.Replaces != 0)
            row["p"] = delivery.Replaces;
        return row;
    }
}
