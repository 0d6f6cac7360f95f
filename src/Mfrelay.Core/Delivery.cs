namespace Mfrelay.Core;

/// <summary>
/// One message on its way to one route, with the recipients that are still open: a row of the queue table.
/// A message whose recipients take two routes is two deliveries with the same queue id.
/// </summary>
public sealed record Delivery
{
    /// <summary>Ascending key of the row, given out when the row is inserted; 0 before that.</summary>
    public long Key { get; init; }

    public required QueueId Id { get; init; }

    /// <summary>Where envelope and mail data lie in the spool.</summary>
    public required SpoolPosition Position { get; init; }

    /// <summary>Octets of mail data, our trace header included.</summary>
    public required long Size { get; init; }

    public required DateTimeOffset Arrival { get; init; }

    /// <summary>Empty for the null reverse-path.</summary>
    public required string ReversePath { get; init; }

    /// <summary>The key of the <see cref="Core.Route"/>; see <see cref="RouteTable"/>.</summary>
    public required string Route { get; init; }

    /// <summary>The recipients still open.</summary>
    public required IReadOnlyList<OpenRecipient> Recipients { get; init; }

    /// <summary>Attempts that have ended.</summary>
    public int Attempts { get; init; }

    /// <summary>When the next attempt is due; the minimum value: at once.</summary>
    public DateTimeOffset NextAttempt { get; init; }

    /// <summary>An operator holds it: no attempt until it is released.</summary>
    public bool Hold { get; init; }

    /// <summary>What the last attempt ended with, for people to read; empty before the first.</summary>
    public string LastReply { get; init; } = "";

    /// <summary>The sender has been told that it takes long.</summary>
    public bool Warned { get; init; }

    /// <summary>What an operator wants done with it, once.</summary>
    public Order Order { get; init; }

    /// <summary>
    /// The key of the row whose place this one took, 0 for none: mf-smtp-client reads new keys, so whoever else changes a row puts it back
    /// under a new one (<see cref="QueueTable.Replace"/>).
    /// </summary>
    public long Replaces { get; init; }

    /// <summary>
    /// Which keys of its leaf had a row when this one was read from the table, a bit for each from the lowest on; 0 when it was not. None is ever added
    /// to a leaf, so when all of them go the leaf goes (<see cref="QueueTable.Delete(Delivery)"/>).
    /// </summary>
    internal ushort LeafMates { get; init; }

    /// <summary>What stands at <see cref="Position"/>, when that was read lately: for whoever opens the message, which then checks it only.</summary>
    internal Envelope? Envelope { get; init; }
}

/// <summary>An operator's order. The numbers are on disk.</summary>
public enum Order
{
    None = 0,

    /// <summary>One attempt now, even where its mail server is on the check list.</summary>
    Flush = 1,

    /// <summary>Back to the sender, now.</summary>
    Bounce = 2,

    /// <summary>Deleted: the done journal has it already, this row is only to tell mf-smtp-client. Not to be shown.</summary>
    Delete = 3,
}

/// <param name="Ordinal">Which recipient of the envelope this is, from 0: the done journal names it by this number.</param>
/// <param name="ForwardPath">Its address, so that the queue can be listed without reading the spool.</param>
public readonly record struct OpenRecipient(int Ordinal, string ForwardPath);

/// <summary>The place of a record in the spool. Ascending in the order in which messages were acknowledged.</summary>
public readonly record struct SpoolPosition(long Segment, long Offset) : IComparable<SpoolPosition>
{
    public int CompareTo(SpoolPosition other) =>
        Segment != other.Segment ? Segment.CompareTo(other.Segment) : Offset.CompareTo(other.Offset);

    public static bool operator <(SpoolPosition a, SpoolPosition b) => a.CompareTo(b) < 0;
    public static bool operator >(SpoolPosition a, SpoolPosition b) => a.CompareTo(b) > 0;
    public static bool operator <=(SpoolPosition a, SpoolPosition b) => a.CompareTo(b) <= 0;
    public static bool operator >=(SpoolPosition a, SpoolPosition b) => a.CompareTo(b) >= 0;

    public override string ToString() => $"{new QueueId(Segment)}:{Offset}";
}
