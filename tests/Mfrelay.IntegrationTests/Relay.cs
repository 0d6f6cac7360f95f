using System.Globalization;
using System.Net;
using Xunit;

namespace Mfrelay.IntegrationTests;

/// <summary>
/// One relay of its own: a directory for config, state and sockets, an address in 127.0.0.0/8 that no other test has, and the two daemons
/// as real processes.
/// </summary>
internal sealed class Relay : IAsyncDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("mfrelay-");
    private readonly List<Daemon> _daemons = [];

    /// <param name="downstream">Where mail for every domain goes.</param>
    /// <param name="server">More lines of [server].</param>
    /// <param name="client">More lines of [client].</param>
    /// <param name="domain">The one domain that is registered.</param>
    public Relay(IPEndPoint downstream, string server = "", string client = "", string domain = "*", string? stateDirectory = null)
    {
        StateDirectory = stateDirectory ?? PathOf("state");
        EndPoint = Loopback.FreeEndPoint();
        WriteConfig($"""
            host_name = "relay.example"
            state_directory = "{StateDirectory}"
            run_directory = "{PathOf("run")}"
            language = "en"
            [server]
            listen = ["{EndPoint}"]
            {server}
            [client]
            retry = ["1s"]
            recheck_interval = "1s"
            idle_timeout = "1s"
            {client}
            [[mail_server]]
            domain = "{domain}"
            host = "{downstream.Address}"
            port = {downstream.Port}
            when_down = "queue"
            """);
    }

    public IPEndPoint EndPoint { get; }
    public string StateDirectory { get; }

    /// <summary>Of the daemons, besides what this process has.</summary>
    public Dictionary<string, string> Environment { get; init; } = [];

    public string ConfigFile => PathOf("mfrelay.toml");
    public string Database => Path.Join(StateDirectory, "mfrelay.db");
    public string DatabaseLog => Path.Join(StateDirectory, "mfrelay-log.db");

    public string PathOf(string name) => Path.Join(_directory.FullName, name);

    /// <summary>A config with mail servers of the test's choice, all of them with when_down = "queue".</summary>
    /// <param name="client">More lines of [client].</param>
    public string ConfigOf(string client, params (string Domain, IPEndPoint EndPoint)[] servers) => $"""
        host_name = "relay.example"
        state_directory = "{StateDirectory}"
        run_directory = "{PathOf("run")}"
        language = "en"
        [server]
        listen = ["{EndPoint}"]
        [client]
        recheck_interval = "1s"
        idle_timeout = "1s"
        {client}

        """ + string.Concat(servers.Select(server => string.Create(CultureInfo.InvariantCulture, $"""
        [[mail_server]]
        domain = "{server.Domain}"
        host = "{server.EndPoint.Address}"
        port = {server.EndPoint.Port}
        when_down = "queue"

        """)));

    public void WriteConfig(string text) => File.WriteAllText(ConfigFile, text);

    /// <summary>Starts mf-smtp-server without waiting for anything.</summary>
    public Daemon LaunchServer() => Launch("mf-smtp-server");

    public Daemon LaunchClient() => Launch("mf-smtp-client");

    /// <summary>Starts mf-smtp-server and waits until it accepts.</summary>
    public Task<Daemon> StartServerAsync() => StartedAsync(LaunchServer());

    /// <summary>Starts mf-smtp-client and waits until it delivers.</summary>
    public Task<Daemon> StartClientAsync() => StartedAsync(LaunchClient());

    public Task<Sender> ConnectAsync() => Sender.ConnectAsync(EndPoint);

    /// <summary>Sends one small message in a session of its own; returns its queue id.</summary>
    public async Task<string> SendAsync(string text, params string[] recipients)
    {
        using Sender sender = await ConnectAsync();
        await sender.HelloAsync();
        string reply = await sender.MailAsync("sender@example.org", recipients.Length == 0 ? ["to@example.com"] : recipients, Mail.Text(text));
        Assert.StartsWith("250 ", reply, StringComparison.Ordinal);
        return Sender.QueueIdOf(reply);
    }

    /// <summary>Stops both daemons with SIGTERM.</summary>
    public async Task StopAllAsync()
    {
        foreach (Daemon daemon in _daemons.Where(daemon => !daemon.HasExited))
            Assert.Equal(0, await daemon.StopAsync());
    }

    public ValueTask DisposeAsync()
    {
        foreach (Daemon daemon in _daemons)
            daemon.Dispose();
        _directory.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    private Daemon Launch(string name)
    {
        var daemon = new Daemon(name, Environment, "--config", ConfigFile);
        _daemons.Add(daemon);
        return daemon;
    }

    private static async Task<Daemon> StartedAsync(Daemon daemon)
    {
        await daemon.WaitForLineAsync("INFO_c101");
        return daemon;
    }
}
