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
        Assert.Equal(
            """{"_id":{"$numberLong":"1"},"q":{"$numberLong":"2"},"s":{"$numberLong":"3"},"o":{"$numberLong":"4"},"z":{"$numberLong":"5"},"a":{"$numberLong":"6"},"f":"a@example.org","r":"*","n":[7],"t":["b@example.com"]}""",
            JsonSerializer.Serialize(QueueTable.ToBson(row)));
        string all = JsonSerializer.Serialize(QueueTable.ToBson(row with
        {
            Attempts = 8,
            NextAttempt = DateTimeOffset.FromUnixTimeMilliseconds(9),
            Hold = true,
            LastReply = "450 later",
            Warned = true,
            Order = Order.Bounce,
            Replaces = 10,
        }));
        Assert.EndsWith("""
            "t":["b@example.com"],"k":8,"x":{"$numberLong":"9"},"h":true,"l":"450 later","w":true,"u":2,"p":{"$numberLong":"10"}}
            """, all, StringComparison.Ordinal);
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
        Assert.Equal(2, meta["v"].AsInt32);
        Assert.Equal(18, meta["k"].AsInt64);
        Assert.Equal(records[0].Position.Segment, meta["s0"].AsInt64);
        Assert.Equal(records[1].End.Offset + SpoolFormat.HeadLength, meta["o0"].AsInt64);
        BsonDocument leaf = Assert.Single(database.GetCollection("queue").FindAll());
        Assert.Equal("_id e", string.Join(' ', leaf.Keys));
        Assert.Equal(16, leaf["_id"].AsInt64);
        Assert.Equal([16, 17], leaf["e"].AsArray.Select(row => row["_id"].AsInt64));
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
