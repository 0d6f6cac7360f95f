namespace Mfrelay.Core;

/// <summary>What gathers for a thread that takes all of it at once: the longer a batch takes, the larger the next one.</summary>
internal sealed class Intake<T> : IDisposable
{
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _news = new(0);
    private List<T> _waiting = [];
    private bool _stopping;

    /// <summary>Nothing is added any more; what is there is still to be taken.</summary>
    public bool IsStopping
    {
        get
        {
            lock (_gate)
                return _stopping;
        }
    }

    public void Add(T item)
    {
        bool first;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_stopping, this);
            first = _waiting.Count == 0;
            _waiting.Add(item);
        }
        if (first)
            _news.Release();
    }

    /// <summary>Has the thread turn with nothing to take.</summary>
    public void Poke()
    {
        lock (_gate)
        {
            if (!_stopping && _waiting.Count == 0 && _news.CurrentCount == 0)
                _news.Release();
        }
    }

    /// <summary>Waits until there is something, the end, or a poke.</summary>
    public void Wait() => _news.Wait();

    /// <summary>All that is there, for an empty list in its place; nothing may be there.</summary>
    /// <param name="stopping">Nothing comes after this.</param>
    public List<T> Take(List<T> empty, out bool stopping)
    {
        lock (_gate)
        {
            List<T> taken = _waiting;
            _waiting = empty;
            stopping = _stopping;
            return taken;
        }
    }

    /// <summary>False when it was stopped before.</summary>
    public bool Stop()
    {
        lock (_gate)
        {
            if (_stopping)
                return false;
            _stopping = true;
        }
        _news.Release();
        return true;
    }

    public void Dispose() => _news.Dispose();
}
