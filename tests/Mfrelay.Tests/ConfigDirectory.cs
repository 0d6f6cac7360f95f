using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>A directory for a config of a test: mfrelay.toml and conf.d.</summary>
internal sealed class ConfigDirectory : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("mfrelay-config-");

    public string MainFile => PathOf("mfrelay.toml");

    public string PathOf(string name) => Path.Join(_directory.FullName, name);

    public string Write(string name, string text)
    {
        string path = PathOf(name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return path;
    }

    public ConfigLoad Load() => ConfigFile.Load(MainFile, () => "box.example.net");

    /// <summary>Loads a config of one file.</summary>
    public static ConfigLoad Load(string text)
    {
        using var directory = new ConfigDirectory();
        directory.Write("mfrelay.toml", text);
        return directory.Load();
    }

    /// <summary>Loads a config of one file that must be good.</summary>
    public static Settings Settings(string text)
    {
        ConfigLoad load = Load(text);
        Assert.Empty(load.Errors);
        return load.Settings!;
    }

    /// <summary>The errors of a config of one file, as they are printed, with the file called "F".</summary>
    public static string[] Errors(string text)
    {
        ConfigLoad load = Load(text);
        Assert.Null(load.Settings);
        return [.. load.Errors.Select(error => (error with { File = "F" }).ToString())];
    }

    public void Dispose() => _directory.Delete(recursive: true);
}
