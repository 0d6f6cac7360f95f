using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class UserCommandTests : IDisposable
{
    private readonly TestDirectory _directory = new();
    private readonly CommandRun _run;

    public UserCommandTests() => _run = new CommandRun($"[server]\nusers_file = \"{UsersFile}\"");

    private string UsersFile => Path.Combine(_directory.Path, "users");

    public void Dispose()
    {
        _run.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public void Users_are_added_changed_listed_and_removed()
    {
        Assert.Equal(0, Add("alice", "secret-1"));
        Assert.Equal($"alice was added to {UsersFile}\n", _run.Output);
        Assert.Equal(0, Add("bob", "secret-2"));
        Assert.Equal(0, Add("alice", "secret-3"));
        Assert.Equal($"alice has a new password in {UsersFile}\n", _run.Output);
        UserTable users = UserTable.Parse(File.ReadAllText(UsersFile));
        Assert.True(users.Find("alice")!.IsPassword("secret-3"u8));
        Assert.True(users.Find("bob")!.IsPassword("secret-2"u8));
        Assert.Equal(0, _run.Invoke("user", "list"));
        Assert.Equal("alice\nbob\n", _run.Output);
        Assert.Equal(0, _run.Invoke("user", "remove", "alice"));
        Assert.Equal(1, _run.Invoke("user", "remove", "alice"));
        Assert.Equal("mfrelay: there is no user alice\n", _run.Error);
        Assert.Equal(0, _run.Invoke("user", "list", "--json"));
        Assert.Equal(["bob"], _run.Json().EnumerateArray().Select(name => name.GetString()));
    }

    [Theory]
    [InlineData("alice", "short")]
    [InlineData("alice", "")]
    [InlineData("alice", "パスワードパスワード")]
    [InlineData("al ice", "secret-1")]
    [InlineData("al:ice", "secret-1")]
    public void What_no_client_could_send_is_refused(string name, string password)
    {
        Assert.Equal(64, Add(name, password));
        Assert.False(File.Exists(UsersFile));
    }

    [Fact]
    public void Without_a_users_file_in_the_config_it_says_what_to_write()
    {
        using var run = new CommandRun("");
        Assert.Equal(78, run.Invoke("user", "list"));
        Assert.Contains("write users_file = ", run.Error, StringComparison.Ordinal);
    }

    private int Add(string name, string password)
    {
        _run.Input = password + "\n";
        return _run.Invoke("user", "add", name, "--iterations", "4096");
    }
}
