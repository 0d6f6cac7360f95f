using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Mfrelay.Core;

/// <summary>
/// A file of whole lines for each day, "PREFIX-20261124.EXTENSION" in the log directory; those that are too old are removed. What cannot be
/// written is thrown away and counted: nobody waits for it. Belongs to one thread.
/// </summary>
/// <param name="directory">Asked with every write, and so is <paramref name="days"/>: a reload may change both.</param>
/// <param name="days">How many past days are kept.</param>
/// <param name="leave">Room in octets that mail may need, if it is the same file system.</param>
internal sealed class DailyFile(string prefix, string extension, Func<string> directory, Func<int> days, Func<long> leave, MailLog log) : IDisposable
{
    private const int BufferLimit = 1 << 20;
    private const UnixFileMode FileMode0640 = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead;
    private const UnixFileMode DirectoryMode0750 = FileMode0640 | UnixFileMode.UserExecute | UnixFileMode.GroupExecute;

    private byte[] _buffer = new byte[64 * 1024];
    private int _length;
    private int _lines;
    private DateOnly _day;
    private string _path = "";
    private SafeFileHandle? _handle;
    private long _end;
    private bool _failed;

    /// <summary>Lines that could not be written since the last one that could.</summary>
    public long Lost { get; set; }

    /// <summary>The days of the files there are, oldest first.</summary>
    public static IEnumerable<(string Path, DateOnly Day)> In(string directory, string prefix, string extension) =>
        from path in Directory.EnumerateFiles(directory, $"{prefix}-????????.{extension}")
        let name = Path.GetFileNameWithoutExtension(path)[(prefix.Length + 1)..]
        let day = DateOnly.TryParseExact(name, "yyyyMMdd", CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly day) ? day : default
        where day != default
        orderby day
        select (path, day);

    /// <summary>A day has begun: its file is made, so that what is wrong with that is known now, and old ones are removed.</summary>
    public void Begin(DateOnly day)
    {
        if (day <= _day)
            return;
        Flush();
        _day = day;
        try
        {
            Open();
            foreach ((string path, DateOnly old) in In(directory(), prefix, extension))
            {
                if (old < day.AddDays(-days()))
                    File.Delete(path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Fail(e);
        }
    }

    /// <summary>Adds a line, or some. One that is late, from before midnight, stands in the file of the day that has begun.</summary>
    public void Add(ReadOnlySpan<byte> line, DateOnly day, int count = 1)
    {
        Begin(day);
        if (_length + line.Length > BufferLimit)
            Flush();
        if (_length + line.Length > _buffer.Length)
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + line.Length));
        line.CopyTo(_buffer.AsSpan(_length));
        _length += line.Length;
        _lines += count;
    }

    public void Flush()
    {
        if (_length == 0)
            return;
        try
        {
            if (_handle is null || !string.Equals(_path, PathOfDay(), StringComparison.Ordinal) || !File.Exists(_path))
                Open();
            if (new DriveInfo(directory()).AvailableFreeSpace - _length < leave())
                throw new NoRoomException("the room that is left is for mail");
            RandomAccess.Write(_handle!, _buffer.AsSpan(0, _length), _end);
            _end += _length;
            if (_failed || Lost > 0)
                log.EventLogWorks(_path, Lost);
            (_failed, Lost) = (false, 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Lost += _lines;
            Fail(e);
        }
        (_length, _lines) = (0, 0);
        if (_buffer.Length > BufferLimit)
            _buffer = new byte[64 * 1024];
    }

    public void Dispose()
    {
        Flush();
        _handle?.Dispose();
    }

    private string PathOfDay() => Path.Join(directory(), string.Create(CultureInfo.InvariantCulture, $"{prefix}-{_day:yyyyMMdd}.{extension}"));

    private void Open()
    {
        _handle?.Dispose();
        _handle = null;
        if (!Directory.Exists(directory()))
        {
            Directory.CreateDirectory(directory());
            File.SetUnixFileMode(directory(), DirectoryMode0750);
        }
        _path = PathOfDay();
        _handle = File.OpenHandle(_path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        _end = RandomAccess.GetLength(_handle);
        Span<byte> last = stackalloc byte[1];
        if (_end == 0)
        {
            File.SetUnixFileMode(_handle, FileMode0640);
        }
        else if (RandomAccess.Read(_handle, last, _end - 1) == 1 && last[0] != '\n')
        {
            // The machine stopped in the middle of a line.
            RandomAccess.Write(_handle, "\n"u8, _end++);
        }
    }

    /// <summary>Says so, once, and leaves no half a line behind.</summary>
    private void Fail(Exception e)
    {
        if (!_failed)
            log.EventLogFailed(PathOfDay(), e.Message);
        _failed = true;
        try
        {
            if (_handle is not null)
                RandomAccess.SetLength(_handle, _end);
        }
        catch (IOException)
        {
            // The next one to open it ends the line.
        }
        _handle?.Dispose();
        _handle = null;
    }
}
