using System.Net;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>Holds packaging/mfrelay.toml against the records. After a change of them, MFRELAY_WRITE_SAMPLE=1 makes the test write the file anew.</summary>
public sealed class ConfigSampleTests
{
    private static readonly string SamplePath = Path.Join(RepositoryRoot(), "packaging", "mfrelay.toml");

    [Fact]
    public void The_sample_in_packaging_is_what_the_records_say()
    {
        if (Environment.GetEnvironmentVariable("MFRELAY_WRITE_SAMPLE") is "1")
            File.WriteAllText(SamplePath, ConfigSample.Text());
        Assert.Equal(ConfigSample.Text(), File.ReadAllText(SamplePath));
    }

    [Fact]
    public void As_it_is_the_sample_is_a_good_config_of_defaults() =>
        Assert.Equal(Values(new Settings() with { HostName = "box.example.net" }), Values(ConfigDirectory.Settings(File.ReadAllText(SamplePath))));

    [Fact]
    public void With_every_setting_in_force_the_sample_still_says_the_defaults()
    {
        using var certificate = new TestCertificate("relay.example.jp");
        Settings expected = new()
        {
            HostName = "relay.example.jp",
            Listeners = [new ListenerSettings { Address = IPEndPoint.Parse("0.0.0.0:587") }],
            Certificates = [new CertificateSettings { File = certificate.CertificateFile, Key = certificate.KeyFile }],
            MailServers = [new MailServer { Domain = "example.com", Host = "192.0.2.1" }],
        };
        string[] lines = File.ReadAllLines(SamplePath);
        string text = string.Join('\n', lines.Select(line => IsCommentedSetting(line) ? line[1..] : line))
            .Replace("/etc/mfrelay/tls/cert.pem", certificate.CertificateFile, StringComparison.Ordinal)
            .Replace("/etc/mfrelay/tls/key.pem", certificate.KeyFile, StringComparison.Ordinal);
        string[] settings = Values(ConfigDirectory.Settings(text));
        Assert.Equal(Values(expected), settings);
        // Each setting has a line that was taken into force, and each [[table]] one more.
        Assert.Equal(settings.Length + 3, lines.Count(IsCommentedSetting));
    }

    // "server.max_errors = 20" for every setting.
    private static string[] Values(object record, string table = "") =>
    [
        .. Setting.Of(record.GetType()).SelectMany(setting => (setting.IsTable, setting.Get(record)) switch
        {
            (true, IEnumerable<object> items) => items.SelectMany(item => Values(item, $"{table}{setting.Key}.")),
            (true, { } item) => Values(item, $"{table}{setting.Key}."),
            (_, var value) => [$"{table}{setting.Key} = {SettingValue.Format(value!)}"],
        }),
    ];

    // "#key = value" and "#[[table]]"; a comment has a space after its "#", or nothing.
    private static bool IsCommentedSetting(string line) => line is ['#', not ' ', ..];

    internal static string RepositoryRoot()
    {
        string? directory = AppContext.BaseDirectory;
        while (directory is not null && !File.Exists(Path.Join(directory, "mfrelay.sln")))
            directory = Path.GetDirectoryName(directory);
        return directory ?? throw new DirectoryNotFoundException($"No mfrelay.sln above {AppContext.BaseDirectory}");
    }
}
