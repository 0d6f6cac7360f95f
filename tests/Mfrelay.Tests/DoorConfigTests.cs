using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>What the config check says about listeners, certificates, users and an open relay.</summary>
public sealed class DoorConfigTests : IDisposable
{
    private readonly TestCertificate _certificate = new("relay.example");
    private readonly ConfigDirectory _directory = new();

    public void Dispose()
    {
        _certificate.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public void A_key_that_is_not_that_of_the_certificate_is_an_error_with_its_line()
    {
        using var other = new TestCertificate("other.example");
        string file = Write($"[[certificate]]\nfile = \"{_certificate.CertificateFile}\"\nkey = \"{other.KeyFile}\"");
        Assert.StartsWith($"{file}:4: certificate.key: {other.KeyFile} is no private key for {_certificate.CertificateFile}", Assert.Single(Errors(file)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("no certificate", "has no certificate in it")]
    [InlineData("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is no certificate")]
    public void A_certificate_that_is_none_is_an_error_with_its_line(string text, string expected)
    {
        string bad = _directory.Write("bad.pem", text);
        string file = Write($"[[certificate]]\nfile = \"{bad}\"\nkey = \"{_certificate.KeyFile}\"");
        string error = Assert.Single(Errors(file));
        Assert.StartsWith($"{file}:3: certificate.file: {bad} {expected}", error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_certificate_that_is_missing_is_an_error_with_its_line()
    {
        string file = Write("[[certificate]]\nfile = \"/nowhere/cert.pem\"\nkey = \"/nowhere/key.pem\"");
        Assert.StartsWith($"{file}:3: certificate.file: Could not find", Assert.Single(Errors(file)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("profile = \"smtps\"", "this listener needs TLS and there is no [[certificate]]")]
    [InlineData("require_auth = true", "nobody could send here")]
    [InlineData("proxy_protocol = true", "whose PROXY header to believe is missing")]
    [InlineData("profile = \"port25\"", "\"port25\" is not one of the choices")]
    public void A_listener_that_could_not_work_is_an_error(string setting, string expected) =>
        Assert.Contains(Errors(Write($"[[listener]]\naddress = \"127.0.0.1:587\"\n{setting}")), error => error.Contains(expected, StringComparison.Ordinal));

    [Theory]
    [InlineData("0.0.0.0/0", true)]
    [InlineData("128.0.0.0/1", true)]
    [InlineData("::/0", true)]
    [InlineData("2000::/3", true)]
    [InlineData("10.0.0.0/8", false)]
    [InlineData("fc00::/7", false)]
    [InlineData("2001:db8::/32", false)]
    public void An_open_relay_made_on_purpose_is_warned_of(string network, bool warned)
    {
        ConfigLoad load = ConfigFile.Load(Write($"[server]\nallow = [\"{network}\"]\n[[mail_server]]\ndomain = \"*\"\nhost = \"192.0.2.1\""));
        Assert.NotNull(load.Settings);
        Assert.Equal(warned, load.Warnings.Any(warning => warning.Line == 3 && warning.Message.Contains("an open relay", StringComparison.Ordinal)));
    }

    [Fact]
    public void Tables_of_listeners_alone_do_not_open_port_25()
    {
        Settings settings = ConfigFile.Load(Write("[[listener]]\naddress = \"127.0.0.1:2525\"")).Settings!;
        Assert.Equal(["127.0.0.1:2525"], settings.EndPoints.Select(address => address.ToString()));
    }

    [Fact]
    public void A_bad_regular_expression_is_an_error() =>
        Assert.Contains("is not a rule", Assert.Single(Errors(Write("[server]\nrefuse_helo = [\"/(a/\"]"))), StringComparison.Ordinal);

    [Fact]
    public void A_file_of_users_that_is_missing_is_an_error() =>
        Assert.Contains("\"mfrelay user add NAME\" makes it", Assert.Single(Errors(Write("[server]\nusers_file = \"/nowhere/users\""))), StringComparison.Ordinal);

    private string Write(string text) => _directory.Write("mfrelay.toml", "host_name = \"relay.example\"\n" + text);

    private static string[] Errors(string file) => [.. ConfigFile.Load(file).Errors.Select(error => error.ToString())];
}
