using System.Net.Sockets;
using NLog;
using NLog.Targets;

namespace Mfrelay.Core;

/// <summary>
/// Writes to the journal's own socket, so that each value of a line is a field ("journalctl MF_CODE=WARN_a301"). Runs on NLog's thread
/// behind a bounded queue: nobody who logs waits for the journal. What the journal does not take in time, and lines of information beyond
/// the limit, are counted, and the count is written as soon as there is room again; warnings and errors know no limit.
/// </summary>
internal sealed class JournalTarget : Target
{
    public const string SocketPath = "/run/systemd/journal/socket";

    /// <summary>The same as LogRateLimitIntervalSec of the units; the limit is below their LogRateLimitBurst, so that the journal drops nothing itself.</summary>
    public static readonly TimeSpan Window = TimeSpan.FromSeconds(30);

    /// <summary>How long a line waits for a journal that is busy; while it is stuck, the lines behind it do not wait again.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly UnixDomainSocketEndPoint _journal;
    private readonly JournalEntry _entry;
    private readonly Func<Language> _language;
    private readonly TimeProvider _time;
    private readonly int _limit;
    private Socket? _socket;
    private bool _stuck;
    private long _windowStart;
    private int _inWindow;
    private long _lost;
    private long _told;

    /// <param name="limit">Most lines of information in a window; 0 is no limit.</param>
    public JournalTarget(string path, string identifier, int limit, Func<Language> language, TimeProvider time)
    {
        (_journal, _entry, _limit, _language, _time) = (new(path), new(identifier), limit, language, time);
        _windowStart = time.GetTimestamp();
        Name = "journal";
    }

    /// <summary>Lines that were not written, for whatever reason.</summary>
    public long Lost => Interlocked.Read(ref _lost);

    /// <summary>Lines that did not even get into the queue before this target.</summary>
    public void CountLost(int lines = 1) => Interlocked.Add(ref _lost, lines);

    /// <summary>Whether standard output goes to the journal, as JOURNAL_STREAM ("device:inode") says, and the journal can be reached.</summary>
    public static bool IsThere()
    {
        string[] stream = Environment.GetEnvironmentVariable("JOURNAL_STREAM")?.Split(':') ?? [];
        // The variable is inherited by programs whose output goes elsewhere; /proc says "socket:[inode]".
        return stream is [_, var inode]
            && string.Equals(new FileInfo("/proc/self/fd/1").LinkTarget, $"socket:[{inode}]", StringComparison.Ordinal)
            && File.Exists(SocketPath);
    }

    protected override void Write(LogEventInfo logEvent)
    {
        if (logEvent is not MailLogEntry entry)
            return;
        foreach (MailLogLine line in entry.Lines)
            Write(entry.Event, line);
    }

    private void Write(LogEvent what, MailLogLine line)
    {
        if (_time.GetElapsedTime(_windowStart) >= Window)
            (_windowStart, _inWindow) = (_time.GetTimestamp(), 0);
        if (_limit > 0 && what.Grade == LogGrade.Info && ++_inWindow > _limit)
        {
            CountLost();
            return;
        }
        TellLost();
        if (!Send(_entry.Encode(what, line.Text, line.Values)))
            CountLost();
    }

    protected override void CloseTarget()
    {
        TellLost();
        _socket?.Dispose();
        _socket = null;
        base.CloseTarget();
    }

    // In front of the first line that gets through again.
    private void TellLost()
    {
        long lost = Lost;
        if (lost == _told)
            return;
        object?[] values = [lost - _told];
        if (Send(_entry.Encode(LogEvents.LogLinesLost, LogEvents.LogLinesLost.Format(_language(), values), values)))
            _told = lost;
    }

    private bool Send(ReadOnlySpan<byte> entry)
    {
        try
        {
            return TrySend(entry) || (WaitForRoom() && TrySend(entry));
        }
        catch (SocketException)
        {
            // The journal made its socket anew: once more, with a connection to that one.
            _socket?.Dispose();
            _socket = null;
        }
        try
        {
            return TrySend(entry);
        }
        catch (SocketException)
        {
            _socket?.Dispose();
            _socket = null;
            return false;
        }
    }

    private bool TrySend(ReadOnlySpan<byte> entry)
    {
        _socket ??= Connect();
        _socket.Send(entry, SocketFlags.None, out SocketError error);
        if (error is SocketError.WouldBlock or SocketError.NoBufferSpaceAvailable)
            return false;
        if (error != SocketError.Success)
            throw new SocketException((int)error);
        _stuck = false;
        return true;
    }

    private bool WaitForRoom()
    {
        if (_stuck)
            return false;
        _stuck = !_socket!.Poll(Patience, SelectMode.SelectWrite);
        return !_stuck;
    }

    private Socket Connect()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            socket.Connect(_journal);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}

/// <summary>Lines of one kind on their way through NLog: mostly one, or one for each recipient with the same result.</summary>
internal sealed class MailLogEntry(LogEvent what, LogLevel level, MailLogLine[] lines) : LogEventInfo(level, "mfrelay", lines[0].Text)
{
    public LogEvent Event { get; } = what;
    public IReadOnlyList<MailLogLine> Lines { get; } = lines;
}

/// <param name="Values">What went into the text; none where nobody asks for them.</param>
internal readonly record struct MailLogLine(string Text, object?[] Values);
