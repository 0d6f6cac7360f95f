using System.CommandLine;
using System.Text.Json;
using Mfrelay.Cli;
using Xunit;

namespace Mfrelay.Tests;

public sealed class ConfigCommandTests : IDisposable
{
    private readonly ConfigDirectory _directory = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _error = new();

    public void Dispose()
    {
        _directory.Dispose();
        _output.Dispose();
        _error.Dispose();
    }

    [Fact]
    public void A_good_config_is_summed_up_with_exit_0()
    {
        string file = _directory.Write("mfrelay.toml", """
            host_name = "relay.example.jp"
            mail_server = [
              { domain = "a.example", host = "10.0.0.1" },
              { domain = "A.example", host = "10.0.0.2" },
              { domain = "*", host = "10.0.0.3" },
            ]
            """);
        Assert.Equal(0, Run("config", "check", file));
        Assert.Equal($"{file}: OK, 3 mail servers for 2 domains\n", _output.ToString());
        Assert.Equal("", _error.ToString());
    }

    [Fact]
    public void Every_error_of_a_bad_one_goes_to_standard_error_with_exit_78()
    {
        string file = _directory.Write("mfrelay.toml", "language = \"fr\"\nhostname = \"x\"");
        Assert.Equal(78, Run("config", "check", file));
        Assert.Equal("", _output.ToString());
        Assert.Equal(
            $"{file}:1: language: \"fr\" is not one of the choices; write \"ja\" or \"en\"\n{file}:2: hostname: unknown key; did you mean host_name?\n",
            _error.ToString());
    }

    [Fact]
    public void A_missing_file_is_exit_78()
    {
        Assert.Equal(78, Run("config", "check", _directory.MainFile));
        Assert.StartsWith($"{_directory.MainFile}: there is no such file; copy the sample", _error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Json_gives_each_error_with_file_line_key_and_message()
    {
        string file = _directory.Write("mfrelay.toml", "\nhostname = \"x\"");
        Assert.Equal(78, Run("config", "check", "--json", file));
        using var json = JsonDocument.Parse(_output.ToString());
        Assert.False(json.RootElement.GetProperty("ok").GetBoolean());
        JsonElement error = Assert.Single(json.RootElement.GetProperty("errors").EnumerateArray());
        Assert.Equal(file, error.GetProperty("file").GetString());
        Assert.Equal(2, error.GetProperty("line").GetInt32());
        Assert.Equal("hostname", error.GetProperty("key").GetString());
        Assert.Equal("unknown key; did you mean host_name?", error.GetProperty("message").GetString());
    }

    [Fact]
    public void Json_of_a_good_config_has_no_errors()
    {
        Assert.Equal(0, Run("config", "check", "--json", _directory.Write("mfrelay.toml", "host_name = \"relay.example.jp\"")));
        using var json = JsonDocument.Parse(_output.ToString());
        Assert.True(json.RootElement.GetProperty("ok").GetBoolean());
        Assert.Equal(0, json.RootElement.GetProperty("errors").GetArrayLength());
    }

    [Fact]
    public void Help_has_examples()
    {
        Assert.Equal(0, Run("config", "check", "--help"));
        Assert.Contains("[default: /etc/mfrelay/mfrelay.toml]", _output.ToString(), StringComparison.Ordinal);
        Assert.Contains("Examples:\n  mfrelay config check ", _output.ToString(), StringComparison.Ordinal);
    }

    private int Run(params string[] arguments) =>
        CommandLine.Create().Parse(arguments).Invoke(new InvocationConfiguration { Output = _output, Error = _error });
}
