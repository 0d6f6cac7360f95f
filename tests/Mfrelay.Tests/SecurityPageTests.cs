using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class SecurityPageTests
{
    /// <summary>How often to look is no limit.</summary>
    private static readonly string[] Rhythms = ["check_interval", "recheck_interval", "log_every_failure"];

    [Fact]
    public void The_security_page_names_every_limit_of_the_server()
    {
        string page = File.ReadAllText(Path.Join(ConfigSampleTests.RepositoryRoot(), "src", "SECURITY.md"));
        IEnumerable<string> limits = Setting.Of(typeof(ServerSettings)).Where(setting => setting.Min is not null).Select(setting => setting.Key);
        Assert.Empty(limits.Except(Rhythms, StringComparer.Ordinal).Where(key => !page.Contains($"`{key}`", StringComparison.Ordinal)));
    }
}
