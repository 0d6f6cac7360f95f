using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Mfrelay.CrashTests;

/// <summary>
/// Takes fsync away from processes, to show that the harness notices: a seccomp filter that answers every call of the fsync family with success and
/// does nothing (seccomp(2), SECCOMP_RET_ERRNO with 0). It holds for a thread and the processes that it starts; no program is changed for it.
/// </summary>
internal static unsafe partial class NoSync
{
    private const int SetNoNewPrivileges = 38;
    private const int SetSeccomp = 22;
    private const int ModeFilter = 2;
    private const uint ReturnSuccess = 0x00050000;
    private const uint Allow = 0x7fff0000;
    private const ushort LoadWord = 0x20;    // BPF_LD | BPF_W | BPF_ABS
    private const ushort JumpIfEqual = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    private const ushort Return = 0x06;      // BPF_RET | BPF_K

    // fsync, fdatasync, sync_file_range, syncfs, msync
    private static uint[] Calls => RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => [74, 75, 277, 306, 26],
        Architecture.Arm64 => [82, 83, 84, 267, 227],
        Architecture other => throw new PlatformNotSupportedException(other.ToString()),
    };

    /// <summary>Runs something that starts a process on a thread without fsync.</summary>
    public static T Run<T>(Func<T> start)
    {
        T? result = default;
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                TakeAway();
                result = start();
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
        return failure is null ? result! : throw new InvalidOperationException("no process without fsync", failure);
    }

    private static void TakeAway()
    {
        uint[] calls = Calls;
        Span<Instruction> program = stackalloc Instruction[calls.Length + 3];
        program[0] = new(LoadWord, 0, 0, 0); // the number of the call
        for (int i = 0; i < calls.Length; i++)
            program[1 + i] = new(JumpIfEqual, (byte)(calls.Length - i), 0, calls[i]);
        program[^2] = new(Return, 0, 0, Allow);
        program[^1] = new(Return, 0, 0, ReturnSuccess);
        fixed (Instruction* first = program)
        {
            var filter = new Filter { Length = (ushort)program.Length, First = first };
            if (prctl(SetNoNewPrivileges, 1, 0, 0, 0) != 0 || prctl(SetSeccomp, ModeFilter, (nuint)(&filter), 0, 0) != 0)
                throw new Win32Exception(Marshal.GetLastPInvokeError());
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct Instruction(ushort Code, byte IfTrue, byte IfFalse, uint Value);

    [StructLayout(LayoutKind.Sequential)]
    private struct Filter
    {
        public ushort Length;
        public Instruction* First;
    }

#pragma warning disable SYSLIB1054, IDE1006 // names of the C library
    [LibraryImport("libc", SetLastError = true)]
    private static partial int prctl(int option, nuint a, nuint b, nuint c, nuint d);
#pragma warning restore SYSLIB1054, IDE1006
}
