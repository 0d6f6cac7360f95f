using Mfrelay.IntegrationTests;

namespace Mfrelay.CrashTests;

/// <summary>
/// The two daemons under load, interrupted once in each round: killed at a random moment, or stopped with the database broken before the
/// next start. At the end the queue drains, and what the source had acknowledged is compared with what the target got.
/// </summary>
internal sealed class Scenario : IDisposable
{
    private static readonly TimeSpan DrainLimit = TimeSpan.FromSeconds(60);

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("mfrelay-crash-");
    private readonly Target _target = new();
    private readonly Source _source;
    private readonly Random _random;
    private readonly string _config;
    private Daemon? _server;
    private Daemon? _client;
    private int _clientKills;

    private Scenario(int seed)
    {
        _random = new Random(seed);
        using var probe = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        probe.Start();
        var listen = (System.Net.IPEndPoint)probe.LocalEndpoint;
        _source = new Source(listen, seed);
        _config = Path.Join(_directory.FullName, "mfrelay.toml");
        File.WriteAllText(_config, $"""
            host_name = "relay.example"
            state_directory = "{Path.Join(_directory.FullName, "state")}"
            run_directory = "{Path.Join(_directory.FullName, "run")}"
            language = "en"
            [server]
            listen = ["{listen}"]
            [client]
            retry = ["1s"]
            recheck_interval = "1s"
            [[mail_server]]
            domain = "*"
            host = "{_target.EndPoint.Address}"
            port = {_target.EndPoint.Port}
            when_down = "queue"
            """);
    }

    private string Database => Path.Join(_directory.FullName, "state", "mfrelay.db");

    public static async Task<bool> RunAsync(string name, int rounds, int seed)
    {
        using var scenario = new Scenario(seed);
        using var stop = new CancellationTokenSource();
        await scenario.StartAsync();
        Task load = scenario._source.RunAsync(stop.Token);
        for (int round = 0; round < rounds; round++)
        {
            await Task.Delay(scenario._random.Next(100, 1000), CancellationToken.None);
            await (name is "kill" ? scenario.KillAsync() : scenario.BreakDatabaseAsync());
            await scenario.StartAsync();
        }
        await stop.CancelAsync();
        await load;
        await scenario.DrainAsync();
        return scenario.Report(name, rounds);
    }

    public void Dispose()
    {
        _server?.Dispose();
        _client?.Dispose();
        _target.Dispose();
        _directory.Delete(recursive: true);
    }

    private async Task StartAsync()
    {
        _server ??= new Daemon("mf-smtp-server", "--config", _config);
        _client ??= new Daemon("mf-smtp-client", "--config", _config);
        await _server.WaitForLineAsync("INFO_c101");
        await _client.WaitForLineAsync("INFO_c101", 60);
    }

    /// <summary>SIGKILL to the server, the client or both.</summary>
    private async Task KillAsync()
    {
        int which = _random.Next(1, 4);
        if ((which & 1) != 0)
        {
            await _server!.KillAsync();
            _server.Dispose();
            _server = null;
        }
        if ((which & 2) != 0)
        {
            await _client!.KillAsync();
            _client.Dispose();
            _client = null;
            _clientKills++;
        }
    }

    /// <summary>Ends both by SIGTERM, so that nothing is in flight, and breaks the file in one of four ways.</summary>
    private async Task BreakDatabaseAsync()
    {
        string older = Database + ".older";
        if (!File.Exists(older))
            File.Copy(Database, older);
        await Task.WhenAll(_server!.StopAsync(60), _client!.StopAsync(60));
        _server.Dispose();
        _client.Dispose();
        (_server, _client) = (null, null);
        switch (_random.Next(4))
        {
            case 0:
                File.Delete(Database);
                break;
            case 1:
                File.Copy(older, Database, overwrite: true);
                break;
            case 2:
                using (FileStream file = File.OpenWrite(Database))
                    file.SetLength(_random.NextInt64(file.Length / 8192 + 1) * 8192);
                break;
            default:
                using (FileStream file = File.OpenWrite(Database))
                {
                    byte[] page = new byte[8192];
                    _random.NextBytes(page);
                    file.Position = _random.NextInt64(file.Length / 8192) * 8192;
                    file.Write(page);
                }
                break;
        }
    }

    private int Missing() => _source.Acknowledged.Keys.Count(id => !_target.Delivered.ContainsKey(id));

    /// <summary>Until everything has come, or nothing has for a while: what is then missing is lost.</summary>
    private async Task DrainAsync()
    {
        long began = TimeProvider.System.GetTimestamp();
        while (Missing() > 0 && TimeProvider.System.GetElapsedTime(began) < DrainLimit)
            await Task.Delay(100);
        // A second delivery of something would come now.
        await Task.Delay(2000);
    }

    private bool Report(string name, int rounds)
    {
        int lost = Missing();
        int twice = _target.Delivered.Values.Sum(count => count - 1);
        int allowed = _clientKills * Source.Sessions;
        Console.WriteLine($"{name}: rounds {rounds}, acknowledged {_source.Acknowledged.Count}, delivered {_target.Delivered.Count}, lost {lost}, " +
            $"duplicated {twice} (at most {allowed}), damaged {_target.Damaged}");
        return lost == 0 && twice <= allowed && _target.Damaged == 0 && !_source.Acknowledged.IsEmpty;
    }
}
