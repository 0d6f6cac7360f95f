using Mfrelay.Core;

namespace Mfrelay.Bench;

/// <summary>A state directory that goes when it is disposed of. MFRELAY_BENCH_DIR says where: a disk whose fsync counts, not a tmpfs.</summary>
internal sealed class Scratch : IDisposable
{
    public Scratch()
    {
        string parent = Environment.GetEnvironmentVariable("MFRELAY_BENCH_DIR") ?? Path.Combine(AppContext.BaseDirectory, "scratch");
        Directory = StateDirectory.Open(Path.Combine(parent, Path.GetRandomFileName()));
    }

    public StateDirectory Directory { get; }

    public void Dispose() => System.IO.Directory.Delete(Directory.Root, recursive: true);
}
