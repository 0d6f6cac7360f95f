using System.Text;
using NLog;
using NLog.Common;
using NLog.Targets;

namespace Mfrelay.Core;

/// <summary>
/// Lines to standard output, all that wait with one write: for whoever starts a daemon by hand each with its time, and for a systemd whose journal cannot
/// be reached each with its priority ("&lt;6&gt;", sd-daemon(3)). NLog's own target lays out each line anew, which took a third of what a line costs.
/// </summary>
internal sealed class OutputTarget : Target
{
    private readonly Stream _output;
    private readonly bool _withPriority;
    private byte[] _buffer = new byte[64 * 1024];
    private int _length;
    private DateTime _time;
    private readonly byte[] _timeText = new byte[EventLine.TimeLength];

    public OutputTarget(Stream output, bool withPriority)
    {
        (_output, _withPriority) = (output, withPriority);
        Name = "output";
    }

    protected override void Write(IList<AsyncLogEventInfo> logEvents)
    {
        foreach (AsyncLogEventInfo entry in logEvents)
            Add(entry.LogEvent);
        IOException? failure = Flush();
        foreach (AsyncLogEventInfo entry in logEvents)
            entry.Continuation(failure);
    }

    protected override void Write(LogEventInfo logEvent)
    {
        Add(logEvent);
        Flush();
    }

    private void Add(LogEventInfo logEvent)
    {
        if (logEvent is not MailLogEntry entry)
            return;
        foreach (MailLogLine line in entry.Lines)
            Add(entry, line.Text);
    }

    private void Add(MailLogEntry entry, string line)
    {
        if (_length > _buffer.Length / 2)
            Flush();
        int most = EventLine.TimeLength + 2 + Encoding.UTF8.GetMaxByteCount(line.Length);
        if (_buffer.Length - _length < most)
            Array.Resize(ref _buffer, _length + most);
        if (_withPriority)
            _length += Encoding.ASCII.GetBytes($"<{entry.Event.Priority}>", _buffer.AsSpan(_length));
        else
            AddTime(entry.TimeStamp);
        _length += Encoding.UTF8.GetBytes(line, _buffer.AsSpan(_length));
        _buffer[_length++] = (byte)'\n';
    }

    /// <summary>Most lines have that of the line before.</summary>
    private void AddTime(DateTime time)
    {
        if (time != _time)
        {
            _time = time;
            EventLine.WriteTime(new DateTimeOffset(time), _timeText);
        }
        _timeText.CopyTo(_buffer, _length);
        _length += _timeText.Length;
        _buffer[_length++] = (byte)' ';
    }

    /// <summary>Whoever reads us may be gone; mail goes on.</summary>
    private IOException? Flush()
    {
        try
        {
            _output.Write(_buffer, 0, _length);
            return null;
        }
        catch (IOException e)
        {
            return e;
        }
        finally
        {
            _length = 0;
        }
    }
}
