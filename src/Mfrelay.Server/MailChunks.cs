using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>Mail data that comes in chunks (RFC 3030 2): one per transaction.</summary>
/// <param name="began">When the first of them began, as a timestamp.</param>
internal sealed class MailChunks(MailTransaction transaction, DataSink sink, long began)
{
    private NewlineCheck _check;

    public MailTransaction Transaction => transaction;
    public DataSink Sink => sink;
    public long Began => began;

    public void Append(ReadOnlySpan<byte> bytes)
    {
        _check.Scan(bytes);
        sink.Append(bytes);
    }

    /// <summary>After the last octet of the last chunk: what of the content speaks against the message.</summary>
    public Reply? Complete(BareNewline bareNewline)
    {
        _check.End();
        if (_check.HasBareNewline && bareNewline == BareNewline.Reject)
            return Replies.BareNewline;
        return _check.EndsInNewline ? null : Replies.NoFinalNewline;
    }
}
