using FsCheck;
using FsCheck.Fluent;
using Mfrelay.Core;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

public sealed class DotDecoderTests
{
    /// <summary>Wire octets made mostly of what matters.</summary>
    private static readonly Gen<byte[]> Wire = Gen.Frequency(
            (3, Gen.Constant("\r\n"u8.ToArray())),
            (3, Gen.Constant("."u8.ToArray())),
            (1, Gen.Constant("\r\n."u8.ToArray())),
            (1, Gen.Constant("\r"u8.ToArray())),
            (1, Gen.Constant("\n"u8.ToArray())),
            (1, Gen.Constant("\0"u8.ToArray())),
            (2, Gen.Constant("x"u8.ToArray())))
        .ListOf()
        .Select(pieces => (byte[])[.. pieces.SelectMany(piece => piece)]);

    [Fact]
    public void Decoding_agrees_with_the_slow_way_in_any_segmentation()
    {
        using var spool = new SpoolOfTest();
        Prop.ForAll(Wire.Zip(Gen.Choose(1, 7).ListOf()).ToArbitrary(), item =>
        {
            (byte[] data, bool complete, bool bare, int taken) = Slow(item.Item1);
            IncomingMessage message = spool.Message;
            message.Begin(new QueueId(1));
            var sink = new DataSink(message, long.MaxValue);
            var decoder = new DotDecoder();
            int at = 0;
            foreach (int length in item.Item2.Append(int.MaxValue))
            {
                if (!decoder.IsComplete)
                    at += decoder.Decode(item.Item1.AsSpan(at, Math.Min(length, item.Item1.Length - at)), sink);
            }
            return decoder.IsComplete == complete && at == taken && decoder.HasBareNewline == bare && message.Data.SequenceEqual(data);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(3000).WithEndSize(40));
    }

    [Fact]
    public void Newlines_of_chunks_are_judged_alike_in_any_segmentation() =>
        Prop.ForAll(Wire.Zip(Gen.Choose(0, 5).ListOf()).ToArbitrary(), item =>
        {
            var check = new NewlineCheck();
            int at = 0;
            foreach (int length in item.Item2.Append(int.MaxValue))
            {
                int n = Math.Min(length, item.Item1.Length - at);
                check.Scan(item.Item1.AsSpan(at, n));
                at += n;
            }
            check.End();
            string text = System.Text.Encoding.Latin1.GetString(item.Item1);
            bool bare = text.Replace("\r\n", "", StringComparison.Ordinal).IndexOfAny(['\r', '\n', '\0']) >= 0;
            bool ends = text.Length == 0 || text.EndsWith("\r\n", StringComparison.Ordinal);
            return check.HasBareNewline == bare && check.EndsInNewline == ends;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(3000).WithEndSize(40));

    [Fact]
    public void A_message_over_the_limit_takes_nothing_more_and_stays_too_large()
    {
        using var spool = new SpoolOfTest();
        spool.Message.Begin(new QueueId(1));
        var sink = new DataSink(spool.Message, 3);
        sink.Append("abc"u8);
        Assert.False(sink.TooLarge);
        sink.Append("d"u8);
        sink.Append("e"u8);
        Assert.True(sink.TooLarge);
        Assert.Equal(0, spool.Message.Length);
    }

    /// <summary>Octet by octet, looking back at the wire: CRLF.CRLF ends it, a dot behind CRLF goes, all else stays.</summary>
    private static (byte[] Data, bool Complete, bool Bare, int Taken) Slow(byte[] wire)
    {
        var data = new List<byte>();
        for (int i = 0; i < wire.Length; i++)
        {
            bool lineStart = i == 0 || (i > 1 && wire[i - 2] == '\r' && wire[i - 1] == '\n');
            if (lineStart && wire.AsSpan(i).StartsWith(".\r\n"u8))
                return ([.. data], true, HasBare(wire.AsSpan(0, i)), i + 3);
            bool heldBack = lineStart && wire.AsSpan(i).SequenceEqual(".\r"u8);
            if (heldBack)
                return ([.. data], false, HasBare(wire.AsSpan(0, i)), wire.Length);
            if (!lineStart || wire[i] != '.')
                data.Add(wire[i]);
        }
        // A CR at the very end may still be half of a CRLF.
        return ([.. data], false, HasBare(wire.AsSpan(0, wire is [.., (byte)'\r'] ? wire.Length - 1 : wire.Length)), wire.Length);
    }

    private static bool HasBare(ReadOnlySpan<byte> bytes) =>
        System.Text.Encoding.Latin1.GetString(bytes).Replace("\r\n", "", StringComparison.Ordinal).IndexOfAny(['\r', '\n', '\0']) >= 0;

    private sealed class SpoolOfTest : IDisposable
    {
        private readonly string _directory = Directory.CreateTempSubdirectory("mfrelay-decoder-").FullName;
        private readonly SpoolWriter _writer;

        public SpoolOfTest()
        {
            _writer = new SpoolWriter(_directory, SpoolOwner.Server, new QueueIdSource(TimeProvider.System), _ => { });
            Message = _writer.NewMessage();
        }

        public IncomingMessage Message { get; }

        public void Dispose()
        {
            Message.Dispose();
            _writer.Dispose();
            Directory.Delete(_directory, recursive: true);
        }
    }
}
