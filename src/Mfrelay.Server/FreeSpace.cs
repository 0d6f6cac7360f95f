using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>How much room the file system of the queue has, as of a moment ago: asked with every MAIL, looked at ten times a second.</summary>
internal sealed class FreeSpace(StateDirectory directory, TimeProvider time)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    private long _octets = -1;
    private long _looked;

    public long Octets
    {
        get
        {
            if (Volatile.Read(ref _octets) < 0 || time.GetElapsedTime(Volatile.Read(ref _looked)) >= Interval)
            {
                Volatile.Write(ref _looked, time.GetTimestamp());
                Volatile.Write(ref _octets, directory.Room() ?? long.MaxValue); // not told: the write will tell
            }
            return Volatile.Read(ref _octets);
        }
    }
}
