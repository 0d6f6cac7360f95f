using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>
/// Dialogs of dialogs/*.txt with the real session, queue and spool, each in three segmentations: whole, per line, per octet.
/// <code>
/// C: line + CRLF of the client       c: octets without CRLF       S: line of the server; &lt;...&gt; is any text
/// ! setting = value                  ! pipelined: mail data does not wait for 354
/// ! toml: server.key = value         any setting, as the config file has it
/// ! user = name password             a user of the users file
/// closed                             the server ends the connection here
/// stored: from -> to to ...          D: line + CRLF of mail data behind our Received field      d: without CRLF
/// \r \n \0 \\ \xHH are octets; {50*ab} is "ab" fifty times; text is Latin-1 except \u: {utf8:...} is UTF-8
/// </code>
/// A file without "stored:" must store nothing.
/// </summary>
public sealed partial class DialogTests(DialogTests.Server server) : IClassFixture<DialogTests.Server>
{
    /// <summary>One queue for all dialogs.</summary>
    public sealed class Server : IAsyncLifetime
    {
        internal Receiving Receiving { get; private set; } = null!;

        public async ValueTask InitializeAsync() => Receiving = await Receiving.StartAsync();

        public ValueTask DisposeAsync() => Receiving.DisposeAsync();
    }

    public enum Segmentation
    {
        Whole,
        PerLine,
        PerOctet,
    }

    public static IEnumerable<TheoryDataRow<string, Segmentation>> Dialogs() =>
        from file in Directory.EnumerateFiles(Path.Combine(AppContext.BaseDirectory, "dialogs"), "*.txt").Order(StringComparer.Ordinal)
        from segmentation in Enum.GetValues<Segmentation>()
        select new TheoryDataRow<string, Segmentation>(Path.GetFileNameWithoutExtension(file), segmentation);

    [Theory]
    [MemberData(nameof(Dialogs))]
    public async Task A_dialog_goes_as_written(string name, Segmentation segmentation)
    {
        Script script = Script.Read(Path.Combine(AppContext.BaseDirectory, "dialogs", name + ".txt"));
        Receiving receiving = server.Receiving;
        QueueId before = receiving.Queue.Ids.Next();
        using var users = new TestDirectory();
        ReceivingSession session = receiving.Connect(script.Client, receiving.With(script.Bound(Path.Combine(users.Path, "users"))), script.Listener);
        var got = new List<string>();
        int expected = 0;
        bool afterStartMail = false;
        var together = new List<byte>();
        foreach (Turn turn in script.Turns)
        {
            if (turn.Expect is not null)
            {
                expected++;
                afterStartMail = turn.Expect.StartsWith("354", StringComparison.Ordinal);
                continue;
            }
            bool wait = segmentation != Segmentation.Whole || (afterStartMail && !script.Pipelined);
            afterStartMail = false;
            if (wait)
            {
                await SendTogether();
                await ReadUpTo(expected);
            }
            if (segmentation == Segmentation.PerOctet)
            {
                for (int i = 0; i < turn.Send!.Length; i++)
                    await session.SendAsync(turn.Send.AsMemory(i, 1));
            }
            else
            {
                together.AddRange(turn.Send!);
                if (segmentation == Segmentation.PerLine)
                    await SendTogether();
            }
        }
        await SendTogether();
        await ReadUpTo(expected);
        if (!script.Closed)
        {
            Assert.False(session.Run.IsCompleted, $"the server closed; it said:\n{string.Join('\n', got)}");
            session.End();
        }
        while (await session.LineAsync() is { } line)
            got.Add(line);
        await session.EndedAsync();

        script.CheckReplies(got);
        script.CheckStored(receiving.Stored(before));
        Assert.Empty(Directory.EnumerateFiles(receiving.Spool, "*.tmp"));
        Assert.DoesNotContain(receiving.Log, entry => entry.What == LogEvents.Unexpected);

        async Task SendTogether()
        {
            if (together.Count > 0)
                await session.SendAsync(together.ToArray());
            together.Clear();
        }

        async Task ReadUpTo(int count)
        {
            while (got.Count < count && await session.LineAsync() is { } line)
                got.Add(line);
        }
    }

    private sealed record Turn(byte[]? Send, string? Expect);

    private sealed partial class Script
    {
        private readonly List<(string Paths, List<byte> Data)> _stored = [];

        private readonly StringBuilder _toml = new();
        private UserTable _users = UserTable.Empty;

        public Settings Settings { get; private set; } = Receiving.DefaultSettings;
        public IPEndPoint? Listener => Settings.Listeners.Count > 0 ? Settings.Listeners[0].Address : null;
        public string Client { get; private set; } = "127.0.0.1";
        public bool Pipelined { get; private set; }
        public bool Closed { get; private set; }
        public List<Turn> Turns { get; } = [];

        public static Script Read(string path)
        {
            var script = new Script();
            foreach (string line in File.ReadLines(path))
                script.Take(line);
            return script;
        }

        /// <summary>The settings with those given as TOML, and with a file of the users.</summary>
        public Settings Bound(string usersFile)
        {
            if (_toml.Length == 0 && !_users.Names.Any())
                return Settings;
            _users.Save(usersFile);
            var errors = new List<ConfigError>();
            Settings bound = Settings with { Server = Settings.Server with { UsersFile = _users.Names.Any() ? usersFile : "" } };
            new ConfigBinder(errors).Bind(ConfigSyntax.Parse("dialog", _toml.ToString(), errors)!, bound);
            Assert.Empty(errors);
            return Settings = bound;
        }

        public void CheckReplies(List<string> got)
        {
            string[] expected = [.. Turns.Select(turn => turn.Expect).OfType<string>()];
            for (int i = 0; i < Math.Max(expected.Length, got.Count); i++)
            {
                string pattern = i < expected.Length ? expected[i] : "(nothing)";
                string line = i < got.Count ? got[i] : "(nothing)";
                if (!Regex.IsMatch(line, $"^{Regex.Escape(pattern).Replace("<\\.\\.\\.>", ".*", StringComparison.Ordinal)}$", RegexOptions.NonBacktracking))
                    Assert.Fail($"reply line {i + 1}: expected {pattern}\nbut got {line}\nafter\n{string.Join('\n', got.Take(i))}");
            }
        }

        public void CheckStored(List<(Envelope Envelope, byte[] Data)> stored)
        {
            IEnumerable<string> paths = stored.Select(item => $"{item.Envelope.ReversePath} -> {string.Join(' ', item.Envelope.Recipients.Select(r => r.ForwardPath))}");
            Assert.Equal(string.Join('\n', _stored.Select(item => item.Paths)), string.Join('\n', paths));
            foreach (((string Paths, List<byte> Data) expected, (Envelope Envelope, byte[] Data) actual) in _stored.Zip(stored))
            {
                byte[] data = actual.Data[Receiving.AfterTrace(actual.Data)..];
                Assert.Equal(Encoding.Latin1.GetString([.. expected.Data]), Encoding.Latin1.GetString(data));
            }
        }

        private void Take(string line)
        {
            if (line.Length == 0 || line[0] == '#')
                return;
            string rest = line.Length > 3 ? line[3..] : "";
            switch (line.Length < 2 ? line : line[..2])
            {
                case "C:":
                    Turns.Add(new Turn([.. Octets(rest), (byte)'\r', (byte)'\n'], null));
                    break;
                case "c:":
                    Turns.Add(new Turn(Octets(rest), null));
                    break;
                case "S:":
                    Turns.Add(new Turn(null, rest));
                    break;
                case "D:":
                    _stored[^1].Data.AddRange([.. Octets(rest), (byte)'\r', (byte)'\n']);
                    break;
                case "d:":
                    _stored[^1].Data.AddRange(Octets(rest));
                    break;
                case "! ":
                    Set(line[2..]);
                    break;
                default:
                    if (line.StartsWith("stored: ", StringComparison.Ordinal))
                        _stored.Add((line["stored: ".Length..], []));
                    else
                        Closed = line is "closed" ? true : throw new FormatException(line);
                    break;
            }
        }

        private void Set(string option)
        {
            if (option.StartsWith("toml: ", StringComparison.Ordinal))
            {
                _toml.Append(option["toml: ".Length..]).Append('\n');
                return;
            }
            string[] words = option.Split(" = ");
            if (words is ["user", string user])
            {
                string[] parts = user.Split(' ');
                _users = _users.With(parts[0], ScramCredential.Of(Encoding.ASCII.GetBytes(parts[1]), ScramCredential.LeastIterations));
                return;
            }
            ServerSettings server = Settings.Server;
            Settings = words[0] switch
            {
                "bare_newline" => Settings with { Server = server with { BareNewline = Enum.Parse<BareNewline>(words[1], ignoreCase: true) } },
                "max_message_size" => Settings with { Server = server with { MaxMessageSize = long.Parse(words[1], CultureInfo.InvariantCulture) } },
                "max_recipients" => Settings with { Server = server with { MaxRecipients = int.Parse(words[1], CultureInfo.InvariantCulture) } },
                "max_errors" => Settings with { Server = server with { MaxErrors = int.Parse(words[1], CultureInfo.InvariantCulture) } },
                "route" => Settings with { MailServers = [new MailServer { Domain = words[1], Host = "127.0.0.1" }] },
                "client" or "pipelined" => Settings,
                _ => throw new FormatException(option),
            };
            if (words is ["client", string client])
                Client = client;
            Pipelined |= words is ["pipelined"];
        }

        private static byte[] Octets(string text)
        {
            text = Repetition.Replace(text, match =>
                new StringBuilder().Insert(0, match.Groups["text"].Value, int.Parse(match.Groups["count"].Value, CultureInfo.InvariantCulture)).ToString());
            text = Utf8.Replace(text, match => Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(match.Groups["text"].Value)));
            text = Escape.Replace(text, match => match.Value[1] switch
            {
                'r' => "\r",
                'n' => "\n",
                '0' => "\0",
                'x' => ((char)Convert.ToByte(match.Value[2..], 16)).ToString(),
                _ => "\\",
            });
            return Encoding.Latin1.GetBytes(text);
        }

        [GeneratedRegex(@"\{(?<count>\d+)\*(?<text>[^}]+)\}", RegexOptions.NonBacktracking)]
        private static partial Regex Repetition { get; }

        [GeneratedRegex(@"\{utf8:(?<text>[^}]+)\}", RegexOptions.NonBacktracking)]
        private static partial Regex Utf8 { get; }

        [GeneratedRegex(@"\\(?:x[0-9a-fA-F]{2}|[rn0\\])", RegexOptions.NonBacktracking)]
        private static partial Regex Escape { get; }
    }
}
