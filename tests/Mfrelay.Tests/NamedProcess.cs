using System.Diagnostics;
using System.Globalization;

namespace Mfrelay.Tests;

/// <summary>Something that runs under the name of a daemon, with its pid file.</summary>
internal sealed class NamedProcess : IDisposable
{
    private readonly Process _process;

    /// <param name="version">What its file says that it is; null: it has none.</param>
    public NamedProcess(string name, string runDirectory, string? version = null)
    {
        string program = Path.Join(runDirectory, name);
        File.Copy("/bin/sleep", program);
        _process = Process.Start(program, ["60"]);
        // Between fork and exec the child still has our name.
        while (!string.Equals(File.ReadAllText($"/proc/{_process.Id}/comm").Trim(), name, StringComparison.Ordinal))
            Thread.Yield();
        File.WriteAllText(Path.Join(runDirectory, $"{name}.pid"), _process.Id.ToString(CultureInfo.InvariantCulture));
        if (version is not null)
            File.WriteAllText(Path.Join(runDirectory, $"{name}.toml"), $"# mfrelay {version} format 1\nsetting_of_that_version = 1\n");
    }

    public int Id => _process.Id;

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }
}
