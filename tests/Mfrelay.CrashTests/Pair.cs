using System.Net;
using Mfrelay.IntegrationTests;

namespace Mfrelay.CrashTests;

/// <summary>The two daemons on one state directory, through any number of starts; everything below lies in one temporary directory.</summary>
internal sealed class Pair : IDisposable
{
    private readonly Dictionary<string, int> _codes = new(StringComparer.Ordinal);
    private readonly List<string> _errors = [];

    /// <param name="root">Of the caller's, who removes it.</param>
    /// <param name="server">More lines of [server].</param>
    public Pair(string root, string stateDirectory, IPEndPoint target, string server = "")
    {
        StateDirectory = stateDirectory;
        EndPoint = Loopback.FreeEndPoint();
        ConfigFile = Path.Join(root, "mfrelay.toml");
        File.WriteAllText(ConfigFile, $"""
            host_name = "relay.example"
            state_directory = "{StateDirectory}"
            run_directory = "{Path.Join(root, "run")}"
            language = "en"
            [server]
            listen = ["{EndPoint}"]
            recheck_interval = "1s"
            {server}
            [client]
            retry = ["1s"]
            recheck_interval = "1s"
            [[mail_server]]
            domain = "*"
            host = "{target.Address}"
            port = {target.Port}
            when_down = "queue"
            """);
    }

    public IPEndPoint EndPoint { get; }
    public string ConfigFile { get; }
    public string StateDirectory { get; }
    public string Database => Path.Join(StateDirectory, "mfrelay.db");
    public string Spool => Path.Join(StateDirectory, "queue", "smtp");
    public Daemon? Server { get; private set; }
    public Daemon? Client { get; private set; }

    /// <summary>Their fsync does nothing.</summary>
    public bool WithoutSync { get; init; }

    /// <summary>False: of the lines of a daemon only the last ones are kept, however many it writes.</summary>
    public bool KeepLines { get; init; } = true;

    public async Task StartAsync(int seconds = 60)
    {
        Daemon server = Server ??= Launch("mf-smtp-server");
        Daemon client = Client ??= Launch("mf-smtp-client");
        await server.WaitForLineAsync("INFO_c101", seconds);
        await client.WaitForLineAsync("INFO_c101", seconds);
    }

    public async Task StopServerAsync()
    {
        if (Server is null)
            return;
        await Server.StopAsync(60);
        Server = Gone(Server);
    }

    public async Task StopClientAsync()
    {
        if (Client is null)
            return;
        await Client.StopAsync(60);
        Client = Gone(Client);
    }

    public Task StopAsync() => Task.WhenAll(StopServerAsync(), StopClientAsync());

    public async Task KillServerAsync()
    {
        await Server!.KillAsync();
        Server = Gone(Server);
    }

    public async Task KillClientAsync(Ledger ledger)
    {
        ledger.Kill();
        await Client!.KillAsync();
        Client = Gone(Client);
    }

    /// <summary>Lines with this code that the daemons have written, those that are gone included.</summary>
    public int Count(string code) => _codes.GetValueOrDefault(code) + CountIn(Server, code) + CountIn(Client, code);

    /// <summary>Lines with a code of an error.</summary>
    public IEnumerable<string> Errors => _errors.Concat(ErrorsIn(Server)).Concat(ErrorsIn(Client));

    public void Dispose()
    {
        Server?.Dispose();
        Client?.Dispose();
    }

    private Daemon Launch(string name) =>
        WithoutSync ? NoSync.Run(() => new Daemon(name, "--config", ConfigFile)) : new Daemon(name, "--config", ConfigFile) { KeepsLines = KeepLines };

    private Daemon? Gone(Daemon daemon)
    {
        foreach (IGrouping<string, string> code in daemon.Lines.Select(CodeOf).Where(code => code.Length > 0).GroupBy(code => code, StringComparer.Ordinal))
            _codes[code.Key] = _codes.GetValueOrDefault(code.Key) + code.Count();
        _errors.AddRange(ErrorsIn(daemon));
        daemon.Dispose();
        return null;
    }

    private static int CountIn(Daemon? daemon, string code) => daemon?.Lines.Count(line => string.Equals(CodeOf(line), code, StringComparison.Ordinal)) ?? 0;

    private static IEnumerable<string> ErrorsIn(Daemon? daemon) =>
        daemon is null ? [] : daemon.Lines.Where(line => line.Contains("ERROR_", StringComparison.Ordinal))
            .Concat(daemon.Errors.Split('\n').Where(line => line.Length > 0));

    /// <summary>"INFO_c101" of a line; "" when it has none.</summary>
    private static string CodeOf(string line)
    {
        foreach (string word in line.Split(' ', 4))
        {
            if (word.StartsWith("INFO_", StringComparison.Ordinal) || word.StartsWith("WARN_", StringComparison.Ordinal)
                || word.StartsWith("ERROR_", StringComparison.Ordinal))
                return word.TrimEnd(':');
        }
        return "";
    }
}
