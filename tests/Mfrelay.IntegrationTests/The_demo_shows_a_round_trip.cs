using System.Text.RegularExpressions;
using Xunit;

namespace Mfrelay.IntegrationTests;

public sealed partial class The_demo_shows_a_round_trip
{
    [Fact]
    public async Task Once_ends_with_0_after_every_step_of_the_first_message()
    {
        using var demo = new Daemon("mfrelay", "demo", "--once");
        Assert.Equal(0, await demo.WaitForExitAsync(60));
        foreach (string step in new[] { "connected", "accepted", "on disk", "queued", "arrived", "delivered", "equal" })
            Assert.Equal(1, demo.Count($@"^ *[0-9.]+ s  {step} "));
        Assert.Equal(2, demo.Count("stopped mf-smtp-(server|client), exit code 0"));
        Assert.False(Directory.Exists(DirectoryOf(demo)));
    }

    [Fact]
    public async Task Sigterm_ends_it_and_its_daemons()
    {
        using var demo = new Daemon("mfrelay", "demo");
        await demo.WaitForLineAsync("Both daemons stay up", 60);
        Assert.Equal(0, await demo.StopAsync(60));
        Assert.Equal(2, demo.Count("stopped mf-smtp-(server|client), exit code 0"));
        Assert.False(Directory.Exists(DirectoryOf(demo)));
    }

    private static string DirectoryOf(Daemon demo) => TemporaryDirectory().Match(string.Join('\n', demo.Lines)).Groups["path"].Value;

    [GeneratedRegex("temporary directory (?<path>.+)", RegexOptions.ExplicitCapture)]
    private static partial Regex TemporaryDirectory();
}
