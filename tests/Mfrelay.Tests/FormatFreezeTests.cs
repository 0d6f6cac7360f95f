using System.Text;
using LiteDB;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>What is on disk stays as it is, or the version in "format" goes up.</summary>
public sealed class FormatFreezeTests : IDisposable
{
    private const long SegmentId = 0x0123456789ABCDEF;
    private readonly State _state = new();

    public void Dispose() => _state.Dispose();

    [Fact]
    public async Task Segment()
    {
        var time = new VirtualTime(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        using (var writer = new SpoolWriter(_state.Spool, SpoolOwner.Client, new QueueIdSource(time), _ => { }))
        using (IncomingMessage message = writer.NewMessage())
        {
            message.Begin(new QueueId(99));
            message.Append("\u00e9\r\n"u8);
            await message.CommitAsync(State.EnvelopeOf(new QueueId(99), "b@example.com", "c@example.com"));
        }
        string path = Assert.Single(Directory.GetFiles(_state.Spool));
        Assert.Equal("000xd48ph0000.seg", Path.GetFileName(path));
        Assert.Equal(
            // header; head; envelope, mail data, padding; seal
            "4d4653504f4f4c0a01000000010000000000002d22ad030000000000c9b2c79f"
            + "4d46523101010000ab000000e3430f270400000000000000e166ee8f020000006300000000000000000000001f925fa6"
            + "6d6672656c61792d656e76656c6f706520310a696420303030303030303030303033330a6172726976616c20313733323432373536363132330a636c69656e74"
            + "203139322e302e322e393a34303131320a68656c6f206d61696c2e6578616d706c652e6f72670a70726f746f636f6c2045534d54500a66726f6d206140657861"
            + "6d706c652e6f72670a746f2062406578616d706c652e636f6d0a746f2063406578616d706c652e636f6d0ac3a90d0a00"
            + "4d465231030000000000000000000000000000000000000000000000020000000000002d22ad03000000000001919550",
            Convert.ToHexStringLower(await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken)));
    }

    [Fact]
    public void Done_journal()
    {
        using (var journal = new DoneJournal(_state.Spool))
            journal.Append(SegmentId, [new(new(SegmentId, 32), 0), new(new(SegmentId, 0x123456), 65535)]);
        string path = Assert.Single(Directory.GetFiles(_state.Spool));
        Assert.Equal("028t5cy4tqlgg.done", Path.GetFileName(path));
        Assert.Equal(
            "4d46444f4e45310aefcdab8967452301" + "00002000000000000000000010d91630" + "ffff563412000000000000001f5962d3",
            Convert.ToHexStringLower(File.ReadAllBytes(path)));
    }

    [Fact]
    public void Row_of_the_queue_table()
    {
        var row = new Delivery
        {
            Key = 1,
            Id = new QueueId(2),
            Position = new SpoolPosition(3, 4),
            Size = 5,
            Arrival = DateTimeOffset.FromUnixTimeMilliseconds(6),
            ReversePath = "a@example.org",
            Route = "*",
            Recipients = [new OpenRecipient(7, "b@example.com")],
        };
        Delivery all = row with
        {
            Key = 3,
            Attempts = 8,
            NextAttempt = DateTimeOffset.FromUnixTimeMilliseconds(9),
            Hold = true,
            LastReply = "450 later",
            Warned = true,
            Order = Order.Bounce,
            Replaces = 10,
        };
        byte[] packed = PackedRows.Write(1, [row, all]);
        const string common = "0200000000000000" + "0300000000000000" + "04" + "05" + "0600000000000000" + "0d61406578616d706c652e6f7267" + "012a"
            + "01" + "07" + "0d62406578616d706c652e636f6d";
        Assert.Equal(
            "02" + "00" + "02" + common + "00" + common + "7f" + "08" + "0900000000000000" + "09343530206c61746572" + "02" + "0a00000000000000",
            Convert.ToHexStringLower(packed));
        List<Delivery> read = PackedRows.Read(1, packed, keys => (ushort)keys.Count);
        Assert.Equal([row, all], read, State.SameRow);
        Assert.All(read, one => Assert.Equal(2, one.LeafMates));
        for (int length = 0; length < packed.Length; length++)
            Assert.ThrowsAny<Exception>(() => PackedRows.Read(1, packed[..length], _ => 0));
        foreach (string damage in (string[])["00", "01", "11", "0200ff", "020010", "020202", "020201", "0202ab02"])
            Assert.ThrowsAny<Exception>(() => PackedRows.Read(1, [.. Convert.FromHexString(damage), .. packed[(damage.Length / 2)..]], _ => 0));
        Assert.ThrowsAny<Exception>(() => PackedRows.Read(1, [.. packed, 0], _ => 0));
        Assert.ThrowsAny<Exception>(() => PackedRows.Read(1, new byte[packed.Length], _ => 0));
        packed[^12] = 0xff; // in the last reply
        Assert.ThrowsAny<Exception>(() => PackedRows.Read(1, packed, _ => 0));

        // Versions 1 and 2.
        const string plain = """
            {"_id":{"$numberLong":"1"},"q":{"$numberLong":"2"},"s":{"$numberLong":"3"},"o":{"$numberLong":"4"},"z":{"$numberLong":"5"},"a":{"$numberLong":"6"},"f":"a@example.org","r":"*","n":[7],"t":["b@example.com"]
            """;
        const string more = ""","k":8,"x":{"$numberLong":"9"},"h":true,"l":"450 later","w":true,"u":2,"p":{"$numberLong":"10"}""";
        Assert.Equal(row, QueueTable.FromBson(JsonSerializer.Deserialize(plain + "}").AsDocument), State.SameRow);
        Assert.Equal(all with { Key = 1 }, QueueTable.FromBson(JsonSerializer.Deserialize(plain + more + "}").AsDocument), State.SameRow);
    }

    [Fact]
    public async Task Collections_and_meta_of_the_database()
    {
        List<SpooledRecord> records = await _state.AcceptAsync("x\r\n"u8.ToArray(), "y\r\n"u8.ToArray());
        await _state.RowsAsync();
        using var database = new LiteDatabase(_state.Directory.Database);
        Assert.Equal("meta queue", string.Join(' ', database.GetCollectionNames().Order(StringComparer.Ordinal)));
        BsonDocument meta = database.GetCollection("meta").FindById(1);
        Assert.Equal("_id v g c k s0 o0 f", string.Join(' ', meta.Keys));
        Assert.Equal(3, meta["v"].AsInt32);
        Assert.Equal(18, meta["k"].AsInt64);
        Assert.Equal(records[0].Position.Segment, meta["s0"].AsInt64);
        Assert.Equal(records[1].End.Offset + SpoolFormat.HeadLength, meta["o0"].AsInt64);
        BsonDocument leaf = Assert.Single(database.GetCollection("queue").FindAll());
        Assert.Equal("_id b", string.Join(' ', leaf.Keys));
        Assert.Equal(16, leaf["_id"].AsInt64);
        Assert.Equal([16, 17], PackedRows.Read(16, leaf["b"].AsBinary, _ => 0).Select(row => row.Key));
    }

    [Theory]
    [InlineData(typeof(SpoolOwner), "Server=0 Client=1")]
    [InlineData(typeof(RecordKind), "Message=1 LargeMessage=2 Seal=3 Gap=4")]
    [InlineData(typeof(RecordFlags), "None=0 EightBit=1")]
    [InlineData(typeof(BodyType), "SevenBit=0 EightBitMime=1 BinaryMime=2")]
    [InlineData(typeof(DsnReturn), "Unspecified=0 Full=1 Headers=2")]
    [InlineData(typeof(DsnNotify), "Unspecified=0 Never=1 Success=2 Failure=4 Delay=8")]
    public void Numbers(Type type, string numbers)
    {
        var text = new StringBuilder();
        foreach (object value in Enum.GetValues(type))
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"{value}={Convert.ToInt64(value, null)} ");
        Assert.Equal(numbers, text.ToString().TrimEnd());
    }

    [Fact]
    public void A_segment_of_a_newer_version_is_refused()
    {
        byte[] header = new byte[SpoolFormat.SegmentHeaderLength];
        SpoolFormat.WriteSegmentHeader(header, SegmentId, SpoolOwner.Server);
        header[8] = 2;
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(28), Crc32C.Of(header.AsSpan(0, 28)));
        Assert.Throws<StateException>(() => SpoolFormat.ReadSegmentHeader(header, SegmentId, out _));
    }
}
