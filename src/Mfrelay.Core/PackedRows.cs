using System.Text;

namespace Mfrelay.Core;

/// <summary>
/// The rows of a leaf as octets: LiteDB takes as long for one number of a document as for all of these. Version 3 of the queue table, frozen by a test.
/// <code>
/// rows  = v count  count*( v key - first )  count*row         ; 1 to 16, by ascending key; v: 7 bits an octet, lowest first, the high bit when there is more
/// row   = i64 queue id  i64 segment  v offset  v size  i64 arrival (ms)  s reverse-path  s route
///         v recipients  recipients*( v ordinal  s forward-path )  u8 flags  [ v attempts ]  [ i64 next attempt (ms) ]  [ s last reply ]
///         [ u8 order ]  [ i64 replaces ]                      ; little endian; s: v octets, UTF-8; what is in brackets as flags say
/// </code>
/// Octets that are no rows are an exception, of whatever type.
/// </summary>
internal static class PackedRows
{
    /// <summary>Rows of a leaf, and the keys that it may have.</summary>
    public const int Most = 16;

    /// <summary>What is written is valid whatever the text; what is read must be.</summary>
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    [Flags]
    private enum Has
    {
        None = 0,
        Attempts = 1,
        NextAttempt = 2,
        LastReply = 4,
        Order = 8,
        Replaces = 16,
        Hold = 32,
        Warned = 64,
    }

    /// <param name="first">None of the rows has a lower key.</param>
    public static byte[] Write(long first, IReadOnlyList<Delivery> rows)
    {
        using var octets = new MemoryStream(rows.Count * 128);
        using var writer = new BinaryWriter(octets, Encoding.UTF8);
        writer.Write7BitEncodedInt(rows.Count);
        for (int i = 0; i < rows.Count; i++)
            writer.Write7BitEncodedInt64(rows[i].Key - first);
        for (int i = 0; i < rows.Count; i++)
            Write(writer, rows[i]);
        writer.Flush();
        return octets.ToArray();
    }

    /// <param name="mates">What <see cref="Delivery.LeafMates"/> is for rows of these keys.</param>
    public static List<Delivery> Read(long first, byte[] octets, Func<IReadOnlyList<long>, ushort> mates)
    {
        using var reader = new BinaryReader(new MemoryStream(octets), StrictUtf8);
        long[] keys = new long[Count(reader, 1, Most)];
        for (int i = 0; i < keys.Length; i++)
        {
            long key = first + reader.Read7BitEncodedInt64();
            keys[i] = key >= (i == 0 ? first : keys[i - 1] + 1) && key < first + Most ? key : throw new InvalidDataException($"the key {key} in the leaf {first}");
        }
        ushort leafMates = mates(keys);
        var rows = new List<Delivery>(keys.Length);
        foreach (long key in keys)
            rows.Add(Read(reader, octets.Length, key, leafMates));
        return reader.BaseStream.Position == octets.Length ? rows : throw new InvalidDataException($"more than the rows of the leaf {first}");
    }

    private static void Write(BinaryWriter writer, Delivery row)
    {
        writer.Write(row.Id.Value);
        writer.Write(row.Position.Segment);
        writer.Write7BitEncodedInt64(row.Position.Offset);
        writer.Write7BitEncodedInt64(row.Size);
        writer.Write(row.Arrival.ToUnixTimeMilliseconds());
        writer.Write(row.ReversePath);
        writer.Write(row.Route);
        writer.Write7BitEncodedInt(row.Recipients.Count);
        for (int i = 0; i < row.Recipients.Count; i++)
        {
            writer.Write7BitEncodedInt(row.Recipients[i].Ordinal);
            writer.Write(row.Recipients[i].ForwardPath);
        }
        Has has = If(row.Attempts != 0, Has.Attempts) | If(row.NextAttempt != default, Has.NextAttempt) | If(row.LastReply.Length > 0, Has.LastReply)
            | If(row.Order != Order.None, Has.Order) | If(row.Replaces != 0, Has.Replaces) | If(row.Hold, Has.Hold) | If(row.Warned, Has.Warned);
        writer.Write((byte)has);
        if (has.HasFlag(Has.Attempts))
            writer.Write7BitEncodedInt(row.Attempts);
        if (has.HasFlag(Has.NextAttempt))
            writer.Write(row.NextAttempt.ToUnixTimeMilliseconds());
        if (has.HasFlag(Has.LastReply))
            writer.Write(row.LastReply);
        if (has.HasFlag(Has.Order))
            writer.Write((byte)row.Order);
        if (has.HasFlag(Has.Replaces))
            writer.Write(row.Replaces);
    }

    private static Delivery Read(BinaryReader reader, int length, long key, ushort mates)
    {
        var id = new QueueId(reader.ReadInt64());
        var position = new SpoolPosition(reader.ReadInt64(), reader.Read7BitEncodedInt64());
        long size = reader.Read7BitEncodedInt64();
        var arrival = DateTimeOffset.FromUnixTimeMilliseconds(reader.ReadInt64());
        (string reversePath, string route) = (reader.ReadString(), reader.ReadString());
        var recipients = new OpenRecipient[Count(reader, 0, length)]; // an octet each at least: a wrong count asks for no memory
        for (int i = 0; i < recipients.Length; i++)
            recipients[i] = new OpenRecipient(reader.Read7BitEncodedInt(), reader.ReadString());
        var has = (Has)reader.ReadByte();
        return new Delivery
        {
            Key = key,
            Id = id,
            Position = position,
            Size = size,
            Arrival = arrival,
            ReversePath = reversePath,
            Route = route,
            Recipients = recipients,
            Attempts = has.HasFlag(Has.Attempts) ? reader.Read7BitEncodedInt() : 0,
            NextAttempt = has.HasFlag(Has.NextAttempt) ? DateTimeOffset.FromUnixTimeMilliseconds(reader.ReadInt64()) : default,
            LastReply = has.HasFlag(Has.LastReply) ? reader.ReadString() : "",
            Order = has.HasFlag(Has.Order) ? (Order)reader.ReadByte() : Order.None,
            Replaces = has.HasFlag(Has.Replaces) ? reader.ReadInt64() : 0,
            Hold = has.HasFlag(Has.Hold),
            Warned = has.HasFlag(Has.Warned),
            LeafMates = mates,
        };
    }

    private static Has If(bool isSo, Has what) => isSo ? what : Has.None;

    private static int Count(BinaryReader reader, int least, int most)
    {
        int count = reader.Read7BitEncodedInt();
        return count >= least && count <= most ? count : throw new InvalidDataException($"{count} where there are {least} to {most}");
    }
}
