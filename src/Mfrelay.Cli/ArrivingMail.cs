using System.Security.Cryptography;
using System.Text;

namespace Mfrelay.Cli;

/// <summary>Mail that the receiving server has got.</summary>
/// <param name="QueueId">From the relay's own Received field; empty when the mail data does not begin with one.</param>
/// <param name="Size">Octets of mail data.</param>
/// <param name="SizeBelowTrace">Octets below that Received field.</param>
/// <param name="Sha256">Of the mail data below that Received field, in hexadecimal.</param>
internal sealed record ArrivedMail(
    string ReversePath, IReadOnlyList<string> ForwardPaths, string QueueId, long Size, long SizeBelowTrace, string Sha256);

/// <summary>
/// Mail data while it arrives: takes the dots away that RFC 5321 4.5.2 puts in, finds its end, which is CRLF.CRLF and nothing else, and
/// hashes what lies below the first header field when that is the relay's Received.
/// </summary>
internal sealed class ArrivingMail : IDisposable
{
    private const int MostTrace = 4096;

    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly byte[] _block = new byte[16 * 1024];
    private readonly MemoryStream _trace = new();
    private int _used;
    private long _size;
    private bool _inTrace = true;
    private At _at = At.LineStart;

    private enum At
    {
        LineStart,
        Dot,
        DotCr,
        Text,
        Cr,
    }

    /// <summary>True when this octet is the last one of CRLF.CRLF.</summary>
    public bool Take(byte octet)
    {
        switch (_at)
        {
            case At.LineStart when octet == '.':
                _at = At.Dot;
                return false;
            case At.Dot when octet == '\r':
                _at = At.DotCr;
                return false;
            case At.DotCr when octet == '\n':
                return true;
            case At.DotCr:
                Keep((byte)'\r');
                break;
            case At.Cr when octet == '\n':
                Keep(octet);
                _at = At.LineStart;
                return false;
        }
        Keep(octet);
        _at = octet == '\r' ? At.Cr : At.Text;
        return false;
    }

    /// <summary>After the end.</summary>
    public ArrivedMail Complete(string reversePath, IReadOnlyList<string> forwardPaths)
    {
        if (_inTrace)
            EndTrace();
        _hash.AppendData(_block, 0, _used);
        string trace = Encoding.UTF8.GetString(_trace.GetBuffer(), 0, (int)_trace.Length);
        return new ArrivedMail(reversePath, forwardPaths, QueueIdIn(trace), _size, _size - _trace.Length, Convert.ToHexStringLower(_hash.GetHashAndReset()));
    }

    public void Dispose()
    {
        _hash.Dispose();
        _trace.Dispose();
    }

    private void Keep(byte octet)
    {
        _size++;
        if (_inTrace)
        {
            // A header field ends at the CRLF that no blank follows (RFC 5322 2.2.3).
            bool lineBegins = _trace.Length >= 2 && _trace.GetBuffer().AsSpan(0, (int)_trace.Length).EndsWith("\r\n"u8);
            if (!(lineBegins && octet is not ((byte)' ' or (byte)'\t')) && _trace.Length < MostTrace)
            {
                _trace.WriteByte(octet);
                return;
            }
            EndTrace();
        }
        Hash(octet);
    }

    private void Hash(byte octet)
    {
        if (_used == _block.Length)
        {
            _hash.AppendData(_block);
            _used = 0;
        }
        _block[_used++] = octet;
    }

    /// <summary>What is no Received field of the relay's belongs to what was sent.</summary>
    private void EndTrace()
    {
        _inTrace = false;
        ReadOnlySpan<byte> field = _trace.GetBuffer().AsSpan(0, (int)_trace.Length);
        if (field.StartsWith("Received: "u8) && field.IndexOf(" (mfrelay) "u8) >= 0)
            return;
        foreach (byte octet in field)
            Hash(octet);
        _trace.SetLength(0);
    }

    private static string QueueIdIn(string trace)
    {
        int at = trace.IndexOf(" id ", StringComparison.Ordinal);
        return at < 0 ? "" : trace[(at + 4)..].Split([';', '\r', ' '], 2)[0];
    }
}
