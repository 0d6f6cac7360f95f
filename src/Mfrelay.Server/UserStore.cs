using Mfrelay.Core;

namespace Mfrelay.Server;

/// <summary>The users file as it is now: read again when it has changed. A bad or missing one lets nobody in, and is logged once.</summary>
internal sealed class UserStore(Func<Admission> admission, MailLog log) : IDisposable
{
    /// <summary>Passwords checked at once: each takes the processor for about 25 ms, and mail must go on.</summary>
    private const int ChecksAtOnce = 1;

    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _turns = new(ChecksAtOnce);
    private UserTable? _users;
    private string _stamp = "";

    /// <summary>Null when the file cannot be read.</summary>
    public UserTable? Current()
    {
        string path = admission().Settings.Server.UsersFile;
        lock (_gate)
        {
            if (path.Length == 0)
                return UserTable.Empty;
            string stamp = $"{path} {FileStamp.Of(path)}";
            if (!string.Equals(stamp, _stamp, StringComparison.Ordinal))
                (_users, _stamp) = (Load(path), stamp);
            return _users;
        }
    }

    /// <summary>Takes as long for a name that does not exist.</summary>
    public async Task<bool> IsPasswordAsync(UserTable users, string name, byte[] password)
    {
        await _turns.WaitAsync();
        try
        {
            return await Task.Run(() => AuthExchange.CredentialOf(users, name).IsPassword(password));
        }
        finally
        {
            _turns.Release();
        }
    }

    public void Dispose() => _turns.Dispose();

    private UserTable? Load(string path)
    {
        try
        {
            return UserTable.Parse(File.ReadAllText(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            log.UsersBad(path, e.Message);
            return null;
        }
    }
}
