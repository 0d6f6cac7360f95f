namespace Mfrelay.Core;

/// <summary>What gathers for a thread that takes all of it at once: the longer a batch takes, the larger the next one.</summary>
internal sealed class Intake<T>
{
    /// <summary>A monitor, because waiting on it does not spin: that would take the processor from the other daemon.</summary>
    private readonly object _gate = new();
    private List<T> _waiting = [];
    private bool _stopping;

    /// <summary>The thread has been told to look since it last took what there was.</summary>
    private bool _hurries;

    /// <summary>Nothing is added any more; what is there is still to be taken.</summary>
    public bool IsStopping
    {
        get
        {
            lock (_gate)
                return _stopping;
        }
    }

    public void Add(T item) => ObjectDisposedException.ThrowIf(!TryAdd(item), this);

    /// <summary>False when it was stopped before.</summary>
    public bool TryAdd(T item)
    {
        lock (_gate)
        {
            if (_stopping)
                return false;
            _waiting.Add(item);
            Hurry();
            return true;
        }
    }

    /// <summary>As <see cref="Add"/>, for what can wait until the thread has something else to do, or is woken.</summary>
    /// <returns>Whether nothing waited before.</returns>
    public bool AddQuietly(T item)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_stopping, this);
            _waiting.Add(item);
            return _waiting.Count == 1;
        }
    }

    /// <summary>Lets the thread look, though there may be nothing.</summary>
    public void Wake()
    {
        lock (_gate)
            Hurry();
    }

    /// <summary>Waits until there is something that cannot wait, the end, or a wake.</summary>
    public void Wait()
    {
        lock (_gate)
        {
            while (!_hurries && !_stopping)
                Monitor.Wait(_gate);
        }
    }

    /// <summary>All that is there, for an empty list in its place; nothing may be there.</summary>
    /// <param name="stopping">Nothing comes after this.</param>
    public List<T> Take(List<T> empty, out bool stopping)
    {
        lock (_gate)
        {
            List<T> taken = _waiting;
            _waiting = empty;
            _hurries = false;
            stopping = _stopping;
            return taken;
        }
    }

    /// <summary>All that is there, if any of it cannot wait; else nothing.</summary>
    public List<T> TakeIfHurried()
    {
        lock (_gate)
            return _hurries ? Take([], out _) : [];
    }

    private void Hurry()
    {
        if (!_hurries)
            Monitor.Pulse(_gate);
        _hurries = true;
    }

    /// <summary>False when it was stopped before.</summary>
    public bool Stop()
    {
        lock (_gate)
        {
            if (_stopping)
                return false;
            _stopping = true;
            Monitor.PulseAll(_gate);
            return true;
        }
    }
}
