using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>
/// Keeps a second process of the same kind off a state directory: two mf-smtp-clients would send everything twice, two mf-smtp-servers
/// would seal each other's segments. A flock(2) on NAME.lock, which the kernel frees when the process dies.
/// </summary>
public sealed class SoleProcess : IDisposable
{
    private readonly SafeFileHandle _lock;

    private SoleProcess(SafeFileHandle handle) => _lock = handle;

    /// <summary>Throws <see cref="StateException"/> when another process has the name.</summary>
    public static SoleProcess Enter(StateDirectory directory, string name)
    {
        SafeFileHandle handle = Native.OpenLockFile(Path.Combine(directory.Root, $"{name}.lock"));
        if (Native.Flock(handle, Native.LockExclusive | Native.LockNonBlocking))
            return new SoleProcess(handle);
        handle.Dispose();
        throw new StateException(
            $"another {name} runs on the state directory {directory.Root} (pgrep -a {name} shows it): stop it, or give this one a state_directory of its own");
    }

    public void Dispose() => _lock.Dispose();
}
