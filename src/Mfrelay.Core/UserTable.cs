using System.Collections.Frozen;
using System.Security.Cryptography;

namespace Mfrelay.Core;

/// <summary>
/// The users that may send after AUTH: a text file with a line "name:credential" for each, "#" before comments. Made by "mfrelay user",
/// read by mf-smtp-server.
/// </summary>
public sealed class UserTable
{
    public const int MaxName = 255;

    private const UnixFileMode Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>A comment to earlier versions.</summary>
    private const string KeyLine = "#salts ";

    private static readonly byte[] KeyOfProcess = RandomNumberGenerator.GetBytes(32);

    private readonly FrozenDictionary<string, ScramCredential> _users;
    private readonly byte[] _saltKey;

    private UserTable(IEnumerable<KeyValuePair<string, ScramCredential>> users, byte[] saltKey) =>
        (_users, _saltKey) = (users.ToFrozenDictionary(StringComparer.Ordinal), saltKey);

    public static UserTable Empty { get; } = new([], KeyOfProcess);

    public IEnumerable<string> Names => _users.Keys.Order(StringComparer.Ordinal);

    /// <summary>What a name that does not exist pretends to have.</summary>
    public int UsualIterations => _users.Values is [var first, ..] ? first.Iterations : ScramCredential.DefaultIterations;

    public ScramCredential? Find(string name) => _users.GetValueOrDefault(name);

    /// <summary>
    /// The salt of a name that does not exist. It stays what it is from one try to the next, and from one process and one machine to the next where
    /// they have the same file: a salt that changes would give away that there is no such user.
    /// </summary>
    public byte[] SaltOf(string name) => HMACSHA256.HashData(_saltKey, System.Text.Encoding.UTF8.GetBytes(name))[..ScramCredential.SaltLength];

    /// <summary>Printable ASCII without blank and colon, and without what SCRAM would escape (RFC 5802 5.1).</summary>
    public static bool IsName(string name) => name.Length is > 0 and <= MaxName && !name.StartsWith('#') && name.All(c => c is > ' ' and < (char)127 and not (':' or ',' or '='));

    /// <summary>Throws <see cref="FormatException"/> with the line.</summary>
    public static UserTable Parse(string text)
    {
        var users = new Dictionary<string, ScramCredential>(StringComparer.Ordinal);
        byte[] saltKey = KeyOfProcess;
        int number = 0;
        foreach (string line in text.Split('\n'))
        {
            number++;
            saltKey = SaltKeyIn(line) ?? saltKey;
            if (string.IsNullOrWhiteSpace(line) || line.StartsWith('#'))
                continue;
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            // The line itself must not get into a log.
            if (colon < 0 || !IsName(line[..colon]) || ScramCredential.Parse(line[(colon + 1)..].TrimEnd()) is not { } credential)
                throw new FormatException($"line {number} is no user; \"mfrelay user add NAME\" writes one");
            if (!users.TryAdd(line[..colon], credential))
                throw new FormatException($"line {number}: this user is there twice");
        }
        return new UserTable(users, saltKey);
    }

    /// <summary>Null for any other line, and for one that somebody has changed: a comment cannot be wrong.</summary>
    private static byte[]? SaltKeyIn(string line)
    {
        byte[] key = new byte[KeyOfProcess.Length];
        return line.StartsWith(KeyLine, StringComparison.Ordinal)
            && Convert.TryFromBase64String(line[KeyLine.Length..].TrimEnd(), key, out int length) && length == key.Length ? key : null;
    }

    public UserTable With(string name, ScramCredential credential) =>
        new(_users.Where(user => !string.Equals(user.Key, name, StringComparison.Ordinal)).Append(new(name, credential)), _saltKey);

    public UserTable Without(string name) => new(_users.Where(user => !string.Equals(user.Key, name, StringComparison.Ordinal)), _saltKey);

    /// <summary>Replaces the file in one step, so that no reader sees half of it. A new one is for its owner alone; an old one keeps its rights.</summary>
    /// <param name="beforeReplacing">What is to be done with the new file before anybody sees it.</param>
    public void Save(string path, Action<string>? beforeReplacing = null)
    {
        string text = "# Users of mf-smtp-server, made by \"mfrelay user\".\n"
            + $"{KeyLine}{Convert.ToBase64String(_saltKey)}\n"
            + string.Concat(_users.OrderBy(user => user.Key, StringComparer.Ordinal).Select(user => $"{user.Key}:{user.Value.Text()}\n"));
        UnixFileMode mode = File.Exists(path) ? File.GetUnixFileMode(path) : Mode;
        string next = $"{path}.new";
        File.Delete(next);
        using (var stream = new FileStream(next, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = Mode }))
        {
            stream.Write(System.Text.Encoding.ASCII.GetBytes(text));
            stream.Flush(flushToDisk: true);
        }
        File.SetUnixFileMode(next, mode);
        beforeReplacing?.Invoke(next);
        File.Move(next, path, overwrite: true);
    }
}
