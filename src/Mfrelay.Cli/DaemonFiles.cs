namespace Mfrelay.Cli;

/// <summary>Where the daemons' executables are: beside this one, as the package installs them, or in the build tree that this one is in.</summary>
internal static class DaemonFiles
{
    /// <summary>The path of an executable. Throws <see cref="FileNotFoundException"/> with a text for the operator.</summary>
    /// <param name="name">"mf-smtp-server".</param>
    /// <param name="project">"Mfrelay.Server": the folder of the build tree that it is built in.</param>
    /// <param name="directory">Where this executable is.</param>
    public static string Find(string name, string project, string directory)
    {
        string beside = Path.Combine(directory, name);
        if (IsComplete(beside))
            return beside;
        // bin/CONFIGURATION/FRAMEWORK/ of our project, and the same of the other one.
        var framework = new DirectoryInfo(Path.TrimEndingDirectorySeparator(Path.GetFullPath(directory)));
        string built = framework.Parent is { Parent.Parent.Parent: { } source } configuration
            ? Path.Combine(source.FullName, project, "bin", configuration.Name, framework.Name, name)
            : beside;
        if (IsComplete(built))
            return built;
        throw new FileNotFoundException($"{name} is neither {beside} nor {built}: build the whole solution (dotnet build), or install the package");
    }

    /// <summary>A build of this project leaves the other programs' starters here without their code: no use.</summary>
    private static bool IsComplete(string executable) =>
        File.Exists(executable) && (File.Exists($"{executable}.dll") || !File.Exists($"{executable}.runtimeconfig.json"));
}
