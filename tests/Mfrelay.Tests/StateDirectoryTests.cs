using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class StateDirectoryTests : IDisposable
{
    private readonly DirectoryInfo _root = Directory.CreateTempSubdirectory("mfrelay-");

    public void Dispose() => _root.Delete(recursive: true);

    private string Root => Path.Combine(_root.FullName, "lib", "mfrelay");

    [Fact]
    public void What_is_missing_is_made_for_the_owner_alone_with_the_version()
    {
        StateDirectory.Open(Root);
        StateDirectory directory = StateDirectory.Open(Root);
        Assert.Equal("mfrelay 1\n", File.ReadAllText(Path.Combine(Root, "format")));
        const UnixFileMode owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        Assert.Equal(owner, File.GetUnixFileMode(Root));
        Assert.Equal(owner, File.GetUnixFileMode(directory.Spool));
        Assert.Empty(Directory.GetFiles(directory.Spool));
    }

    [Theory]
    [InlineData("mfrelay 2\n", "newer mfrelay (format 2; this one knows 1)")]
    [InlineData("", "is not what mfrelay writes")]
    [InlineData("postfix 1\n", "is not what mfrelay writes")]
    [InlineData("mfrelay 0\n", "is not what mfrelay writes")]
    public void A_directory_of_another_format_is_refused_and_nothing_in_it_is_changed(string format, string reason)
    {
        Directory.CreateDirectory(Root);
        File.WriteAllText(Path.Combine(Root, "format"), format);
        Assert.Contains(reason, Assert.Throws<StateException>(() => StateDirectory.Open(Root)).Message, StringComparison.Ordinal);
        Assert.Equal([Path.Combine(Root, "format")], Directory.GetFileSystemEntries(Root));
    }

    [Fact]
    public void A_file_in_the_place_of_the_directory_is_told_to_the_operator()
    {
        string file = Path.Combine(_root.FullName, "file");
        File.WriteAllText(file, "");
        Assert.Contains(file, Assert.Throws<StateException>(() => StateDirectory.Open(file)).Message, StringComparison.Ordinal);
        Assert.Contains("chown -R", Assert.Throws<StateException>(() => StateDirectory.Open(Path.Combine(file, "below"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_place_where_nobody_may_write_is_told_to_the_operator() =>
        Assert.Contains("state_directory", Assert.Throws<StateException>(() => StateDirectory.Open("/proc/mfrelay")).Message, StringComparison.Ordinal);
}
