using System.Security.Cryptography;

namespace Mfrelay.Fuzz;

/// <summary>The committed inputs of a target: a file each. Those that were found carry a name that says what was wrong, others a checksum.</summary>
internal static class Corpus
{
    private static string FolderOf(string root, FuzzTarget target) => Path.Combine(root, "corpus", target.Name);

    /// <summary>What lies beside the program.</summary>
    public static List<byte[]> Load(FuzzTarget target)
    {
        string folder = FolderOf(AppContext.BaseDirectory, target);
        return Directory.Exists(folder)
            ? [.. Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal).Select(File.ReadAllBytes)]
            : [];
    }

    /// <summary>Writes inputs that the folder has not got yet; returns how many.</summary>
    public static int Save(string root, FuzzTarget target, IEnumerable<byte[]> inputs)
    {
        string folder = Directory.CreateDirectory(FolderOf(root, target)).FullName;
        HashSet<string> there = [.. Directory.EnumerateFiles(folder).Select(file => NameOf(File.ReadAllBytes(file)))];
        int written = 0;
        foreach (byte[] input in inputs)
        {
            if (!there.Add(NameOf(input)))
                continue;
            File.WriteAllBytes(Path.Combine(folder, NameOf(input)), input);
            written++;
        }
        return written;
    }

    public static string NameOf(ReadOnlySpan<byte> input) => Convert.ToHexStringLower(SHA256.HashData(input).AsSpan(0, 8));
}
