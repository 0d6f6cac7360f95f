using System.Net;

namespace Mfrelay.Core;

/// <summary>What must fit together across settings.</summary>
internal sealed class ConfigChecks(Settings settings, ConfigBinder binder, string file, List<ConfigError> errors)
{
    public void Run()
    {
        CheckListeners();
        CheckMetrics();
        // A port that was wrong has been reported, and the one that it has meanwhile was nobody's wish.
        if (!errors.Exists(error => error.Key is "mail_server.port"))
        {
            CheckDuplicateMailServers();
            CheckLoops();
        }
        CheckMx();
        for (int i = 0; i < settings.MailServers.Count; i++)
        {
            string path = $"mail_server[{i}]";
            if (settings.MailServers[i] is { Host: not null } server)
                new SecurityChecks(server, (key, message) => Report(GivenAs(path, key), $"mail_server.{key}", message), binder.PlaceOf(path + ".port") is not null).Run();
        }
    }

    /// <summary>The setting, the first item of a list, or the entry as a whole where it is not given.</summary>
    private string GivenAs(string entry, string key) =>
        binder.PlaceOf($"{entry}.{key}") is not null ? $"{entry}.{key}" : binder.PlaceOf($"{entry}.{key}[0]") is not null ? $"{entry}.{key}[0]" : entry;

    private void CheckMx()
    {
        var domains = settings.MailServers.Where(server => server.Domain is not null).CountBy(server => server.Domain, StringComparer.OrdinalIgnoreCase)
            .ToDictionary(StringComparer.OrdinalIgnoreCase);
        for (int i = 0; i < settings.MailServers.Count; i++)
        {
            if (settings.MailServers[i] is { Host: not null, IsMx: true, Domain: { } domain } && domains[domain] > 1)
                Report($"mail_server[{i}].host", "mail_server.host", $"host = \"mx\" must be the only entry of {domain}: its MX records name all mail servers");
        }
    }

    private void CheckListeners()
    {
        IReadOnlyList<IPEndPoint> listen = settings.Server.Listen;
        // Empty, too, when what was in it was wrong, and then that has been reported.
        if (listen.Count == 0 && settings.Listeners.Count == 0 && !errors.Exists(error => error.Key is "server.listen"))
            Report("server.listen", "server.listen", $"the list is empty; write at least one, such as {SettingValue.Format(new ServerSettings().Listen)}, or a [[listener]]");
        for (int i = 0; i < listen.Count; i++)
        {
            if (listen.Take(i).Contains(listen[i]))
                Report($"server.listen[{i}]", "server.listen", $"\"{listen[i]}\" is there twice; write each address and port once");
        }
        IReadOnlyList<ListenerSettings> tables = settings.Listeners;
        for (int i = 0; i < tables.Count; i++)
        {
            if (tables[i].Address is { } address && (listen.Contains(address) || tables.Take(i).Any(other => address.Equals(other.Address))))
                Report($"listener[{i}].address", "listener.address", $"\"{address}\" is there twice; write each address and port once");
        }
    }

    private void CheckMetrics()
    {
        string ofServer = settings.Server.MetricsListen, ofClient = settings.Client.MetricsListen;
        if (ofClient.Length > 0 && string.Equals(ofServer, ofClient, StringComparison.Ordinal))
            Report("client.metrics_listen", "client.metrics_listen", $"\"{ofClient}\" is server.metrics_listen too; each process needs a port of its own");
        foreach ((string key, string address) in new[] { ("server.metrics_listen", ofServer), ("client.metrics_listen", ofClient) })
        {
            if (address.Length > 0 && settings.EndPoints.Any(listener => string.Equals(listener.ToString(), address, StringComparison.Ordinal)))
                Report(key, key, $"\"{address}\" is where mail is accepted; write another port");
        }
    }

    private void CheckDuplicateMailServers()
    {
        var first = new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase);
        for (int i = 0; i < settings.MailServers.Count; i++)
        {
            // A required key that was missing or wrong has been reported; there is nothing to compare.
            if (settings.MailServers[i] is not { Domain: not null, Host: not null } server)
                continue;
            string identity = $"{server.Domain} {AddressOf(server)?.ToString() ?? server.Host} {server.Port}";
            if (first.TryAdd(identity, i))
                continue;
            ConfigPlace other = binder.PlaceOf($"mail_server[{first[identity]}]")!.Value;
            Report($"mail_server[{i}]", "mail_server",
                $"{server.Address} for {server.Domain} is already in {other.File}, line {other.Line}; write each mail server of a domain once");
        }
    }

    // Only what can be seen without DNS: address literals, and "localhost".
    private void CheckLoops()
    {
        for (int i = 0; i < settings.MailServers.Count; i++)
        {
            MailServer server = settings.MailServers[i];
            if (server.Host is not null && settings.EndPoints.FirstOrDefault(listener => IsSelf(server, listener)) is { } self)
            {
                Report($"mail_server[{i}].host", "mail_server.host",
                    $"{server.Address} is this relay itself, which listens on {self}: mail would loop; write another server or another port");
            }
        }
    }

    private static bool IsSelf(MailServer server, IPEndPoint listener)
    {
        if (server.Port != listener.Port)
            return false;
        IPAddress own = HostName.Plain(listener.Address);
        if (server.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase))
            return IPAddress.IsLoopback(own) || IsAny(own);
        if (AddressOf(server) is not { } address)
            return false;
        // A listener on [::] may take IPv4 as well, one on 0.0.0.0 never takes IPv6. To connect to 0.0.0.0 is to connect to oneself.
        return address.Equals(own)
            || ((IPAddress.IsLoopback(address) || IsAny(address))
                && IsAny(own)
                && (own.Equals(IPAddress.IPv6Any) || own.AddressFamily == address.AddressFamily));
    }

    private static bool IsAny(IPAddress address) => address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any);

    private static IPAddress? AddressOf(MailServer server) => HostName.ParseAddress(server.Host) is { } address ? HostName.Plain(address) : null;

    private void Report(string path, string key, string message)
    {
        ConfigPlace place = binder.PlaceOf(path) ?? new(file, 0);
        errors.Add(new(place.File, place.Line, key, message));
    }
}
