using System.Globalization;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay;

/// <summary>The reply of a mail server to a check.</summary>
/// <param name="Code">0: there was none, and the only line says why.</param>
/// <param name="Lines">Without code; printable.</param>
internal readonly record struct ProbeReply(int Code, IReadOnlyList<string> Lines)
{
    public int Class => Code / 100;

    /// <summary>What EHLO says, from the second line on: a keyword and its parameters each (RFC 5321 4.1.1.1).</summary>
    public Announcement Announcement
    {
        get
        {
            List<string[]> words = [.. Lines.Skip(1).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(line => line.Length > 0)];
            string[]? size = words.Find(line => line[0].Equals("SIZE", StringComparison.OrdinalIgnoreCase));
            long limit = size is [_, var number, ..] && long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out long octets) ? octets : 0;
            return new Announcement(string.Join(' ', words.Select(line => line[0].ToUpperInvariant()).Distinct(StringComparer.Ordinal).Take(100)), limit);
        }
    }

    public override string ToString() => Code == 0 ? Lines[0] : string.Create(CultureInfo.InvariantCulture, $"{Code} {string.Join(" / ", Lines.Take(5))}");
}

/// <summary>The dialog of a check over one connection. After a reply without code nothing is said any more.</summary>
internal sealed class ProbeDialog(Stream connection, TimeSpan timeout, TimeProvider time, Action<string>? step, CancellationToken cancellation) : IDisposable
{
    /// <summary>Octets of one reply; RFC 5321 4.5.3.1.5 limits a line to 512 octets and not the lines.</summary>
    private const int MaxReply = 64 * 1024;

    /// <summary>For the reply to QUIT: nothing depends on it.</summary>
    private static readonly TimeSpan QuitTimeout = TimeSpan.FromSeconds(2);

    private readonly byte[] _buffer = new byte[4096];
    private Stream _stream = connection;
    private TimeSpan _timeout = timeout;
    private int _start;
    private int _end;
    private bool _over;

    public void Dispose() => _stream.Dispose();

    public async Task<ProbeReply> AskAsync(string command)
    {
        step?.Invoke($"> {command}");
        try
        {
            await _stream.WriteAsync(Encoding.ASCII.GetBytes(command + "\r\n"), cancellation).AsTask().WaitAsync(_timeout, time, cancellation);
        }
        catch (Exception e) when (e is IOException or TimeoutException)
        {
            return Broken(e);
        }
        return await ReadAsync();
    }

    /// <summary>A whole reply, all of it within the timeout.</summary>
    public async Task<ProbeReply> ReadAsync()
    {
        try
        {
            return await ReadReplyAsync().WaitAsync(_timeout, time, cancellation);
        }
        catch (Exception e) when (e is IOException or TimeoutException)
        {
            return Broken(e);
        }
    }

    public async Task QuitAsync()
    {
        if (_over)
            return;
        if (_timeout > QuitTimeout)
            _timeout = QuitTimeout;
        await AskAsync("QUIT");
    }

    /// <summary>STARTTLS with its handshake.</summary>
    /// <returns>Null when there is no TLS; the reason is in <see cref="WhyNoTls"/>.</returns>
    public async Task<Announcement?> StartTlsAsync(MailServer server, Announcement announced)
    {
        ProbeReply reply = await AskAsync("STARTTLS");
        WhyNoTls = $"STARTTLS: {reply}";
        return reply.Code == 220 && _start == _end ? await HandshakeAsync(server, announced) : null;
    }

    /// <summary>What the peer was asked for and did not give.</summary>
    public string WhyNoTls { get; private set; } = "";

    /// <summary>The handshake, judged by the settings of the mail server; it tells version and certificate.</summary>
    public async Task<Announcement?> HandshakeAsync(MailServer server, Announcement announced)
    {
        using TlsPolicy? policy = TlsPolicy.Of(server, out string error);
        if (policy is null)
        {
            WhyNoTls = error;
            return null;
        }
        var tls = new SslStream(_stream, leaveInnerStreamOpen: false);
        _stream = tls;
        try
        {
            await tls.AuthenticateAsClientAsync(policy.Options(server.Host), cancellation).WaitAsync(_timeout, time, cancellation);
        }
        catch (Exception e) when (e is AuthenticationException or IOException or TimeoutException)
        {
            WhyNoTls = policy.Refused ?? Broken(e).ToString();
            if (policy.Refused is { } why)
                Over(why);
            return null;
        }
        string version = TlsPolicy.NameOf(tls.SslProtocol);
        step?.Invoke(string.Create(CultureInfo.InvariantCulture,
            $"{version}, {tls.NegotiatedCipherSuite}, certificate {Printable(policy.CertificateSubject)}, expires {policy.CertificateExpiry.UtcDateTime:yyyy-MM-dd HH:mm:ss}Z"));
        return announced with { Tls = version, CertificateExpiry = policy.CertificateExpiry };
    }

    private async Task<ProbeReply> ReadReplyAsync()
    {
        var lines = new List<string>();
        int octets = 0;
        int code = 0;
        while (true)
        {
            (string? line, int length) = await ReadLineAsync(MaxReply - octets);
            if (line is null)
                return Over(length < 0 ? "the connection was closed" : "the reply is too long");
            octets += length;
            step?.Invoke($"< {line}");
            if (!IsReplyLine(line) || (lines.Count > 0 && !line.StartsWith(code.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)))
                return Over($"not a reply: {(line.Length > 100 ? line[..100] : line)}");
            code = int.Parse(line.AsSpan(0, 3), CultureInfo.InvariantCulture);
            lines.Add(line.Length > 4 ? line[4..] : "");
            if (line.Length == 3 || line[3] == ' ')
                return new ProbeReply(code, lines);
        }
    }

    /// <summary>code = %x32-35 2DIGIT, then SP or "-" (RFC 5321 4.2).</summary>
    private static bool IsReplyLine(string line) =>
        line.Length >= 3 && line[0] is >= '2' and <= '5' && char.IsAsciiDigit(line[1]) && char.IsAsciiDigit(line[2])
        && (line.Length == 3 || line[3] is ' ' or '-');

    /// <summary>A line up to its LF; null at the limit, and with length -1 at the end of the connection.</summary>
    private async Task<(string? Line, int Length)> ReadLineAsync(int limit)
    {
        var line = new List<byte>();
        while (true)
        {
            if (_start == _end)
            {
                _start = 0;
                _end = await _stream.ReadAsync(_buffer, cancellation);
                if (_end == 0)
                    return (null, -1);
            }
            int lf = _buffer.AsSpan(_start, _end - _start).IndexOf((byte)'\n');
            int count = lf < 0 ? _end - _start : lf + 1;
            if (line.Count + count > limit)
                return (null, limit);
            line.AddRange(_buffer.AsSpan(_start, count));
            _start += count;
            if (lf >= 0)
                return (Printable(Encoding.UTF8.GetString([.. line]).TrimEnd('\r', '\n')), line.Count);
        }
    }

    private ProbeReply Broken(Exception e) =>
        Over(e is TimeoutException ? $"no answer within {Duration.Format(_timeout)}" : (e.InnerException as SocketException)?.Message ?? e.Message);

    private ProbeReply Over(string why)
    {
        _over = true;
        step?.Invoke($"failed: {why}");
        return new ProbeReply(0, [why]);
    }

    /// <summary>What a peer says is shown on terminals and kept in the health table.</summary>
    private static string Printable(string text) => string.Concat(text.Select(c => char.IsControl(c) ? '?' : c));
}
