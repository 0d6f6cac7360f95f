using System.Globalization;

namespace Mfrelay.Server;

/// <summary>What tells that a file has changed.</summary>
internal static class FileStamp
{
    /// <summary>Empty when there is no file.</summary>
    public static string Of(string path)
    {
        var file = new FileInfo(path);
        return file.Exists ? string.Create(CultureInfo.InvariantCulture, $"{file.LastWriteTimeUtc.Ticks} {file.Length}") : "";
    }
}
