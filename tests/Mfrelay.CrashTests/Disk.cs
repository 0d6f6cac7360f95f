using System.Diagnostics;

namespace Mfrelay.CrashTests;

/// <summary>
/// A disk whose power can be cut: ext4 in an image file, which lies on an xfs that can share blocks, which lies in an image file of its own. A copy
/// that shares all blocks (cp --reflink=always) is taken in one moment: what the inner file system had not sent to its disk by then is not in it.
/// </summary>
internal sealed class Disk : IDisposable
{
    private readonly string _outer;
    private readonly string _outerImage;
    private int _number;

    public Disk(string root)
    {
        _outerImage = Path.Join(root, "outer.img");
        _outer = Directory.CreateDirectory(Path.Join(root, "outer")).FullName;
        Root = Directory.CreateDirectory(Path.Join(root, "disk")).FullName;
        Sparse(_outerImage, 8L << 30);
        Run("mkfs.xfs", "-q", "-m", "reflink=1", _outerImage);
        Run("mount", "-o", "loop", _outerImage, _outer);
        Sparse(Image, 2L << 30);
        Run("mkfs.ext4", "-q", "-F", Image);
        Run("mount", "-o", "loop", Image, Root);
    }

    public string Root { get; }

    private string Image => ImageOf(_number);

    /// <summary>Pictures the disk as it is at some moment between the two times.</summary>
    public (long From, long To) Picture()
    {
        long from = Stopwatch.GetTimestamp();
        Run("cp", "--reflink=always", Image, ImageOf(_number + 1));
        return (from, Stopwatch.GetTimestamp());
    }

    /// <summary>Puts the picture in the place of the disk. Nobody may have a file open.</summary>
    public void UsePicture()
    {
        Run("umount", Root);
        File.Delete(Image);
        _number++;
        Run("mount", "-o", "loop", Image, Root);
    }

    public void Dispose()
    {
        TryUnmount(Root);
        TryUnmount(_outer);
        File.Delete(_outerImage);
    }

    private string ImageOf(int number) => Path.Join(_outer, $"disk{number}.img");

    private static void Sparse(string path, long length)
    {
        using FileStream file = File.Create(path);
        file.SetLength(length);
    }

    /// <summary>A file system in memory.</summary>
    public static void MountMemory(string root, string size)
    {
        Directory.CreateDirectory(root);
        Run("mount", "-t", "tmpfs", "-o", $"size={size}", "tmpfs", root);
    }

    public static void TryUnmount(string root)
    {
        using Process process = Process.Start(new ProcessStartInfo("umount", ["-q", "-l", root]) { UseShellExecute = false, RedirectStandardError = true })!;
        process.WaitForExit();
    }

    private static void Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardError = true })!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: {error}");
    }
}
