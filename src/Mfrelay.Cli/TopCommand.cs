using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay top": status, rates and queue again and again; on a terminal one screen that is drawn over, elsewhere one table after the other.</summary>
internal sealed class TopCommand(CommandContext context)
{
    private static readonly TimeSpan LeastInterval = TimeSpan.FromMilliseconds(200);
    private static readonly JsonSerializerOptions OneLine = new(CommandSupport.JsonOptions) { WriteIndented = false };

    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = new("--json") { Description = "Print a JSON object for each look, on a line of its own." };
    private readonly Option<bool> _once = new("--once") { Description = "Look once, print it, end." };

    private readonly Option<TimeSpan> _interval = new("--interval")
    {
        Description = "How long between two looks, at least 200ms.",
        HelpName = "TIME",
        DefaultValueFactory = static _ => TimeSpan.FromSeconds(1),
        CustomParser = result =>
        {
            if (Duration.TryParse(result.Tokens[0].Value, out TimeSpan span) && span >= LeastInterval && span <= TimeSpan.FromHours(1))
                return span;
            result.AddError(context.LanguageOfHelp.Say(
                $"{result.Tokens[0].Value} は間隔ではありません: 200ms から 1h までの 200ms, 1s, 5m などを指定してください",
                $"{result.Tokens[0].Value} is no interval; write 200ms, 1s, 5m or the like, from 200ms to 1h"));
            return default;
        },
    };

    public Command Create()
    {
        var command = new Command("top", "Watch daemons, rates, queue, mail servers and alerts; q or Ctrl-C ends it.") { _interval, _once, _config, _json };
        command.AddExamples(
            ("mfrelay top", "a screen that is renewed each second"),
            ("mfrelay top --interval 5s >top.log", "tables one after the other: not a terminal"),
            ("mfrelay top --once --json | jq .routes", "for a program"));
        command.SetAction(RunAsync);
        return command;
    }

    private async Task<int> RunAsync(ParseResult result, CancellationToken cancel)
    {
        InvocationConfiguration console = result.InvocationConfiguration;
        (bool asJson, bool once, TimeSpan interval) = (result.GetValue(_json), result.GetValue(_once), result.GetValue(_interval));
        bool isScreen = !asJson && !once && ReferenceEquals(console.Output, Console.Out) && !Console.IsOutputRedirected;
        return await context.WithStoreAsync(result.GetRequiredValue(_config), console, async (settings, store, language) =>
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            using Screen? screen = isScreen ? new Screen(console.Output, stop) : null;
            while (true)
            {
                Overview all = await Overview.ReadAsync(store, settings, language, TextWriter.Null, context.Time);
                if (asJson)
                    console.Output.Line(JsonSerializer.Serialize(ToJson(all), OneLine));
                else if (screen is not null)
                    screen.Draw(Lines(all, language, isScreen: true));
                else
                    console.Output.Line(string.Join('\n', Lines(all, language, isScreen: false)) + (once ? "" : "\n"));
                if (once || !await WaitAsync(interval, stop.Token))
                    return 0;
            }
        });
    }

    private async Task<bool> WaitAsync(TimeSpan interval, CancellationToken cancel)
    {
        try
        {
            await Task.Delay(interval, context.Time, cancel);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private static object ToJson(Overview all) => new
    {
        Time = all.Now,
        Status = all.ToJson(),
        Routes = QueueCommand.RoutesToJson(all.Queue, new RouteTable(all.Settings.MailServers), new HealthViews(all.Health)),
    };

    private static IEnumerable<string> Lines(Overview all, Language language, bool isScreen)
    {
        bool isColoured = isScreen && !TextTable.IsColourUnwanted;
        string time = all.Now.ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
        yield return $"mfrelay top  {all.Settings.HostName}  {time}{(isScreen ? language.Say("  q: 終了", "  q: quit") : "")}";
        yield return "";
        var daemons = new TextTable("", "");
        foreach (Overview.Daemon daemon in all.Daemons)
            daemons.Add(daemon.Name, StatusCommand.DaemonCell(daemon, all.Now, language));
        StatusCommand.AddHealth(daemons, all, language, most: 5);
        StatusCommand.AddAlerts(daemons, all, language);
        foreach (string line in daemons.Lines(isColoured))
            yield return line;
        yield return "";
        foreach (string line in Rates(all, language).Lines(isColoured))
            yield return line;
        yield return "";
        yield return language.Say(
            $"キュー {QueueCommand.Number(all.Deliveries)} 件, {QueueCommand.Octets(all.Octets)}, 保留 {QueueCommand.Number(all.Held)}",
            $"queue {QueueCommand.Number(all.Deliveries)}, {QueueCommand.Octets(all.Octets)}, {QueueCommand.Number(all.Held)} held");
        if (all.Queue.Routes.Count == 0)
            yield break;
        var routes = new RouteTable(all.Settings.MailServers);
        foreach (string line in QueueCommand.TableOf(all.Queue, routes, new HealthViews(all.Health), all.Now, language).Lines(isColoured))
            yield return line;
    }

    private static TextTable Rates(Overview all, Language language)
    {
        TextTable table = language == Language.Ja
            ? new TextTable("", "毎秒", "毎分", "毎分(5分)", "起動から")
            : new TextTable("", "PER SECOND", "PER MINUTE", "OVER 5 MINUTES", "SINCE THE START");
        foreach (string name in new[] { Figure.Accepted, Figure.Refused, Figure.Delivered, Figure.Deferred, Figure.Failed })
        {
            string word = StatusCommand.Word(name, language);
            if (all.Of(name) is { } figure)
            {
                table.Add(word, StatusCommand.Number(figure.PerSecond), StatusCommand.Number(figure.PerMinute), StatusCommand.Number(figure.PerMinuteOfFive),
                    QueueCommand.Number(figure.Total));
            }
            else
            {
                table.Add(word, "-", "-", "-", "-");
            }
        }
        return table;
    }

    /// <summary>
    /// The terminal's other screen (xterm's 1049), without cursor and without wrapping, so that it is drawn over in place and nothing is left of it.
    /// </summary>
    private sealed class Screen : IDisposable
    {
        private readonly TextWriter _terminal;

        /// <param name="stop">Cancelled when q is typed.</param>
        public Screen(TextWriter terminal, CancellationTokenSource stop)
        {
            _terminal = terminal;
            _terminal.Write("\e[?1049h\e[?25l\e[?7l");
            // Whoever waits for a key cannot be cancelled: a thread that ends with the process.
            if (!Console.IsInputRedirected)
                new Thread(() => WaitForEnd(stop)) { IsBackground = true, Name = "keys" }.Start();
        }

        public void Draw(IEnumerable<string> lines)
        {
            string[] all = [.. lines];
            int height = Math.Max(Console.WindowHeight, 3);
            if (all.Length > height)
                all = [.. all.Take(height - 1), string.Create(CultureInfo.InvariantCulture, $"... {all.Length - height + 1}")];
            _terminal.Write($"\e[H{string.Join("\e[K\r\n", all)}\e[K\e[J");
            _terminal.Flush();
        }

        public void Dispose()
        {
            _terminal.Write("\e[?7h\e[?25h\e[?1049l");
            _terminal.Flush();
        }

        private static void WaitForEnd(CancellationTokenSource stop)
        {
            try
            {
                while (Console.ReadKey(intercept: true).KeyChar is not ('q' or 'Q'))
                {
                }
                stop.Cancel();
            }
            catch (Exception e) when (e is InvalidOperationException or ObjectDisposedException or IOException)
            {
                // No keyboard, or already ending.
            }
        }
    }
}
