namespace Mfrelay.Core;

/// <summary>A message as the spool holds it: stand-in made from bytes in memory.</summary>
/// <param name="data">Mail data; ends in CRLF, not dot-stuffed.</param>
/// <param name="inPieces">Behave like a large message: every read copies into the scratch buffer.</param>
public sealed class SpooledMessage(Envelope envelope, ReadOnlyMemory<byte> data, bool inPieces = false) : IDisposable
{
    private bool _disposed;

    public Envelope Envelope { get; } = envelope;

    /// <summary>Octets of mail data, our Received: field included.</summary>
    public long Size => data.Length;

    /// <summary>Some octet is above 127.</summary>
    public bool EightBit { get; } = data.Span.ContainsAnyInRange((byte)128, (byte)255);

    /// <summary>Bytes from an offset: all that is left, or as many as the scratch buffer takes when the message is large.</summary>
    public ReadOnlyMemory<byte> Read(long offset, Memory<byte> scratch)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ReadOnlyMemory<byte> rest = data[(int)offset..];
        if (!inPieces)
            return rest;
        if (rest.Length > scratch.Length)
            rest = rest[..scratch.Length];
        rest.CopyTo(scratch);
        return scratch[..rest.Length];
    }

    public void Dispose() => _disposed = true;
}
