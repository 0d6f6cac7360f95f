using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>
/// A mail server on 127.0.0.1 that does what a script says, one line after the other, and can misbehave:
/// <code>
/// S: 250 ok           sends the line; consecutive ones in one write
/// C: MAIL FROM:*      reads a line and compares ("*" at the end: any rest)
/// C data              reads mail data to CRLF.CRLF, undoes the dots, keeps it in Mail
/// C octets 123        reads that many octets and keeps them in Mail
/// ! close             closes after what it has sent was taken
/// ! reset             closes with RST
/// ! silence           reads nothing and says nothing until the client has gone
/// ! drip              from here on sends octet by octet
/// ! endless           sends a reply that never ends
/// ! nothing 100       fails when the client says anything within so many milliseconds
/// ! deaf 900          reads nothing for so many milliseconds, then resets
/// ! eof               reads the end of the connection
/// ! cancel            cancels the token Cancelled
/// </code>
/// Each script serves one connection; scripts are used in turn. A difference from the script fails the test when the peer is disposed.
/// </summary>
internal sealed class ScriptedPeer : IAsyncDisposable
{
    public const string Hello = """
        S: 220 peer.example ESMTP
        C: EHLO relay.example
        S: 250-peer.example

        """;

    private readonly Socket _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly CancellationTokenSource _cancelled = new();
    private readonly Task _serving;

    public ScriptedPeer(params string[] scripts)
        : this(receiveBuffer: 0, scripts)
    {
    }

    /// <param name="receiveBuffer">SO_RCVBUF and SO_SNDBUF of the connections; 0: the system's.</param>
    public ScriptedPeer(int receiveBuffer, params string[] scripts)
    {
        _listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        if (receiveBuffer > 0)
            _listener.ReceiveBufferSize = _listener.SendBufferSize = receiveBuffer;
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen();
        _serving = ServeAsync(scripts);
    }

    public MailServer Server => new() { Domain = "*", Host = "127.0.0.1", Port = ((IPEndPoint)_listener.LocalEndPoint!).Port };

    /// <summary>For what is to be cancelled when the script comes to it, however slow the machine is.</summary>
    public CancellationToken Cancelled => _cancelled.Token;

    /// <summary>Mail data in the order of arrival.</summary>
    public List<byte[]> Mail { get; } = [];

    /// <summary>Lines the client has sent.</summary>
    public List<string> Lines { get; } = [];

    /// <summary>Waits for the end of the last script and throws what did not fit.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await _serving.WaitAsync(TimeSpan.FromSeconds(10));
        }
        finally
        {
            await _stop.CancelAsync();
            _listener.Dispose();
            _stop.Dispose();
            _cancelled.Dispose();
        }
    }

    private async Task ServeAsync(string[] scripts)
    {
        foreach (string script in scripts)
        {
            using Socket socket = await _listener.AcceptAsync(_stop.Token);
            socket.NoDelay = true;
            await new Conversation(this, socket, _stop.Token).PlayAsync(script);
        }
    }

    private sealed class Conversation(ScriptedPeer peer, Socket socket, CancellationToken stop)
    {
        private readonly byte[] _buffer = new byte[8192];
        private int _start;
        private int _end;
        private bool _drip;

        public async Task PlayAsync(string script)
        {
            var toSend = new StringBuilder();
            foreach (string raw in script.ReplaceLineEndings("\n").Split('\n'))
            {
                string line = raw.TrimStart();
                if (line.StartsWith("S: ", StringComparison.Ordinal))
                {
                    toSend.Append(line.AsSpan(3)).Append("\r\n");
                    continue;
                }
                await SendAsync(toSend.ToString());
                toSend.Clear();
                if (line.Length > 0 && !await StepAsync(line))
                    return;
            }
            await SendAsync(toSend.ToString());
        }

        /// <summary>False when the connection is over.</summary>
        private async Task<bool> StepAsync(string line)
        {
            switch (line)
            {
                case "C data":
                    peer.Mail.Add(await ReadDataAsync());
                    return true;
                case "! drip":
                    _drip = true;
                    return true;
                case "! close":
                    // Unread octets would turn the close into a reset, which may overtake what was sent.
                    socket.Shutdown(SocketShutdown.Send);
                    await DrainAsync();
                    return false;
                case "! reset":
                    socket.LingerState = new LingerOption(true, 0);
                    return false;
                case "! cancel":
                    await peer._cancelled.CancelAsync();
                    return true;
                case "! silence" or "! eof":
                    await DrainAsync();
                    return false;
                case "! endless":
                    await SendEndlesslyAsync();
                    return false;
            }
            if (line.StartsWith("C: ", StringComparison.Ordinal))
                Compare(line[3..], Encoding.UTF8.GetString(await ReadLineAsync()).TrimEnd('\r', '\n'));
            else if (line.StartsWith("C octets ", StringComparison.Ordinal))
                peer.Mail.Add(await ReadOctetsAsync(int.Parse(line.AsSpan(9), CultureInfo.InvariantCulture)));
            else if (line.StartsWith("! nothing ", StringComparison.Ordinal))
                await ExpectNothingAsync(int.Parse(line.AsSpan(10), CultureInfo.InvariantCulture));
            else if (line.StartsWith("! deaf ", StringComparison.Ordinal))
                return await BeDeafAsync(int.Parse(line.AsSpan(7), CultureInfo.InvariantCulture));
            else
                throw new FormatException($"No such line in a script: {line}");
            return true;
        }

        private void Compare(string expected, string actual)
        {
            peer.Lines.Add(actual);
            if (expected.EndsWith('*'))
                Assert.StartsWith(expected[..^1], actual, StringComparison.Ordinal);
            else
                Assert.Equal(expected, actual);
        }

        private async Task ExpectNothingAsync(int milliseconds)
        {
            await Task.Delay(milliseconds, stop);
            Assert.Equal(0, socket.Available + _end - _start);
        }

        private async Task<bool> BeDeafAsync(int milliseconds)
        {
            await Task.Delay(milliseconds, stop);
            socket.LingerState = new LingerOption(true, 0);
            return false;
        }

        private async Task SendAsync(string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            int step = _drip ? 1 : Math.Max(bytes.Length, 1);
            for (int i = 0; i < bytes.Length; i += step)
                await socket.SendAsync(bytes.AsMemory(i, step), stop);
        }

        private async Task SendEndlesslyAsync()
        {
            try
            {
                while (true)
                    await socket.SendAsync("250-and so on and so on\r\n"u8.ToArray(), stop);
            }
            catch (SocketException)
            {
            }
        }

        private async Task DrainAsync()
        {
            try
            {
                while (await socket.ReceiveAsync(_buffer, stop) > 0)
                {
                }
            }
            catch (SocketException)
            {
            }
        }

        private async Task<byte[]> ReadDataAsync()
        {
            var data = new MemoryStream();
            bool afterCrLf = true;
            while (true)
            {
                byte[] line = await ReadLineAsync();
                if (afterCrLf && line.AsSpan().SequenceEqual(".\r\n"u8))
                    return data.ToArray();
                await data.WriteAsync(line.AsMemory(line[0] == '.' ? 1 : 0), stop);
                afterCrLf = line.AsSpan().EndsWith("\r\n"u8);
            }
        }

        /// <summary>Through the next LF.</summary>
        private async Task<byte[]> ReadLineAsync()
        {
            var line = new MemoryStream();
            while (true)
            {
                int lf = _buffer.AsSpan(_start, _end - _start).IndexOf((byte)'\n');
                int count = lf < 0 ? _end - _start : lf + 1;
                await line.WriteAsync(_buffer.AsMemory(_start, count), stop);
                _start += count;
                if (lf >= 0)
                    return line.ToArray();
                await FillAsync();
            }
        }

        private async Task<byte[]> ReadOctetsAsync(int count)
        {
            var octets = new MemoryStream();
            while (octets.Length < count)
            {
                if (_start == _end)
                    await FillAsync();
                int taken = (int)Math.Min(_end - _start, count - octets.Length);
                await octets.WriteAsync(_buffer.AsMemory(_start, taken), stop);
                _start += taken;
            }
            return octets.ToArray();
        }

        private async Task FillAsync()
        {
            _start = 0;
            _end = await socket.ReceiveAsync(_buffer, stop);
            if (_end == 0)
                throw new EndOfStreamException("The client closed before the script was over");
        }
    }
}
