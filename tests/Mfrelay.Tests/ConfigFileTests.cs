using System.Runtime.Versioning;
using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ConfigFileTests : IDisposable
{
    private readonly ConfigDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Files_of_conf_d_come_after_the_main_file_in_the_order_of_their_names()
    {
        _directory.Write("mfrelay.toml", """
            language = "en"
            server = { max_errors = 1, max_recipients = 101, max_connections = 1 }
            client.retry = ["1s", "2s"]
            [[mail_server]]
            domain = "a.example"
            host = "10.0.0.1"
            """);
        _directory.Write("conf.d/20-b.toml", "[server]\nmax_errors = 3\n[[mail_server]]\ndomain = \"c.example\"\nhost = \"10.0.0.3\"");
        _directory.Write("conf.d/10-a.toml", """
            server.max_errors = 2
            server.max_recipients = 102
            client.retry = ["9s"]
            mail_server = [{ domain = "b.example", host = "10.0.0.2" }]
            """);

        Settings settings = _directory.Load().Settings!;

        Assert.Equal(Language.En, settings.Language);
        Assert.Equal((3, 102, 1), (settings.Server.MaxErrors, settings.Server.MaxRecipients, settings.Server.MaxConnections));
        Assert.Equal([TimeSpan.FromSeconds(9)], settings.Client.Retry);
        Assert.Equal(["a.example", "b.example", "c.example"], settings.MailServers.Select(server => server.Domain).ToArray());
    }

    [Fact]
    public void Other_files_in_conf_d_are_not_read()
    {
        _directory.Write("mfrelay.toml", "");
        foreach (string name in (string[])["a.toml.bak", "README", ".hidden.toml", ".#a.toml"])
            _directory.Write($"conf.d/{name}", "no TOML");
        _directory.Write("conf.d/directory.toml/a.toml", "no TOML");
        Assert.Empty(_directory.Load().Errors);
    }

    [Fact]
    public void Errors_name_their_file_also_when_a_later_file_replaces_the_value()
    {
        string main = _directory.Write("mfrelay.toml", "\nlanguage = \"fr\"\n");
        string first = _directory.Write("conf.d/1.toml", "not TOML");
        string second = _directory.Write("conf.d/2.toml", "language = \"ja\"\nlnaguage = \"ja\"");
        Assert.Equal([(main, 2, "language"), (first, 1, ""), (second, 2, "lnaguage")], _directory.Load().Errors.Select(error => (error.File, error.Line, error.Key)));
    }

    [Fact]
    public void A_mail_server_of_another_file_counts_as_a_duplicate()
    {
        string entry = "[[mail_server]]\ndomain = \"*\"\nhost = \"10.0.0.1\"\n";
        string main = _directory.Write("mfrelay.toml", "\n" + entry);
        string other = _directory.Write("conf.d/1.toml", entry);
        ConfigError error = Assert.Single(_directory.Load().Errors);
        Assert.Equal((other, 1), (error.File, error.Line));
        Assert.Contains($"already in {main}, line 2;", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_is_an_error_that_says_what_to_do() =>
        AssertError(_directory.MainFile, "there is no such file; copy the sample mfrelay.toml to this place, or name another file");

    [Fact]
    public void A_file_in_a_missing_directory_is_one_too() => AssertError(_directory.PathOf("no/such/mfrelay.toml"), "there is no such file");

    [Fact]
    public void A_directory_is_an_error() => AssertError(_directory.PathOf(""), "this is a directory; name the file in it");

    [Fact]
    public void An_empty_name_is_an_error() => AssertError("", "cannot be read");

    [Fact]
    public void A_file_that_never_ends_is_an_error() => AssertError("/dev/zero", "too large; at most 16MiB are allowed");

    [Fact]
    public void A_file_that_cannot_be_opened_is_an_error()
    {
        File.CreateSymbolicLink(_directory.MainFile, _directory.MainFile);
        AssertError(_directory.MainFile, "cannot be read");
    }

    [Fact]
    [UnsupportedOSPlatform("windows")]
    public void A_file_without_permission_is_an_error()
    {
        Assert.SkipWhen(Environment.IsPrivilegedProcess, "root may read everything");
        File.SetUnixFileMode(_directory.Write("mfrelay.toml", ""), UnixFileMode.None);
        AssertError(_directory.MainFile, "no permission to read this");
    }

    [Fact]
    public void A_file_that_is_not_utf8_is_an_error_at_the_line_of_the_first_bad_octet()
    {
        File.WriteAllBytes(_directory.MainFile, [.. "# 日本\n# "u8, 0x93, 0xFA, (byte)'\n']);
        Assert.Equal($"{_directory.MainFile}:2: not UTF-8, which TOML must be; save the file as UTF-8", Assert.Single(_directory.Load().Errors).ToString());
    }

    [Fact]
    public void The_name_of_the_machine_is_never_asked_for_in_vain()
    {
        _directory.Write("mfrelay.toml", "host_name = \"relay.example.jp\"");
        Assert.NotNull(ConfigFile.Load(_directory.MainFile, () => throw new InvalidOperationException("DNS was asked")).Settings);
    }

    private static void AssertError(string path, string message)
    {
        ConfigLoad load = ConfigFile.Load(path, () => "box.example.net");
        Assert.Null(load.Settings);
        ConfigError error = Assert.Single(load.Errors);
        Assert.Equal((path, 0, ""), (error.File, error.Line, error.Key));
        Assert.StartsWith(message, error.Message, StringComparison.Ordinal);
    }
}
