namespace Mfrelay.IntegrationTests;

/// <summary>Small files, read and written in one go.</summary>
internal static class Files
{
    /// <summary>The tree that the tests were built in.</summary>
    public static string Repository { get; } = Above(AppContext.BaseDirectory);

    private static string Above(string directory) => File.Exists(Path.Join(directory, "mfrelay.sln")) ? directory
        : Above(Path.GetDirectoryName(directory.TrimEnd('/')) ?? throw new DirectoryNotFoundException("No mfrelay.sln above the tests"));

    public static string Read(string path) => File.ReadAllText(path);

    public static void Write(string path, string text) => File.WriteAllText(path, text);

    public static void Write(string path, byte[] bytes) => File.WriteAllBytes(path, bytes);

    /// <summary>Writes until the file system is full.</summary>
    public static void Fill(string path)
    {
        using FileStream file = File.Create(path, bufferSize: 1);
        byte[] block = new byte[4096];
        try
        {
            while (true)
                file.Write(block);
        }
        catch (IOException)
        {
            // Full.
        }
    }

    /// <summary>Takes octets off its end.</summary>
    public static void Cut(string path, int count)
    {
        using FileStream file = File.OpenWrite(path);
        file.SetLength(file.Length - count);
    }
}
