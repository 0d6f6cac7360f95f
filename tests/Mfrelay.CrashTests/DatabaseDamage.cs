using System.Globalization;

namespace Mfrelay.CrashTests;

/// <summary>Ways to break mfrelay.db, each repeatable by its seed.</summary>
internal sealed class DatabaseDamage
{
    private const int PageSize = 8192;

    private static readonly string[] Names =
    [
        "deleted", "truncated at a page", "truncated at an octet", "a page of random octets", "several pages of random octets", "a page of zeros",
        "random octets", "an older copy", "a page in the place of another", "pages of an older copy",
    ];

    private readonly int _seed;
    private readonly int _kind;

    public DatabaseDamage(int seed)
    {
        _seed = seed;
        _kind = new Random(seed).Next(Names.Length);
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Names[_kind]} (seed {_seed})");

    /// <summary>The whole file is gone or another: no part of the old one is left to be misread.</summary>
    public bool IsDeletion => _kind == 0;

    public void Do(string database, string older)
    {
        var random = new Random(_seed);
        _ = random.Next();
        if (_kind == 0)
        {
            File.Delete(database);
            return;
        }
        byte[] bytes = File.ReadAllBytes(database);
        int pages = Math.Max(bytes.Length / PageSize, 1);
        Span<byte> Page(int number) => bytes.AsSpan(number * PageSize, PageSize);
        switch (_kind)
        {
            case 1:
                Array.Resize(ref bytes, random.Next(1, pages) * PageSize);
                break;
            case 2:
                Array.Resize(ref bytes, random.Next(bytes.Length));
                break;
            case 3 or 4:
                for (int i = _kind == 3 ? 1 : random.Next(2, 20); i > 0; i--)
                    random.NextBytes(Page(random.Next(pages)));
                break;
            case 5:
                Page(random.Next(pages)).Clear();
                break;
            case 6:
                for (int i = random.Next(1, 300); i > 0; i--)
                    bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                break;
            case 7:
                bytes = File.ReadAllBytes(older);
                break;
            case 8:
                Page(random.Next(pages)).CopyTo(Page(random.Next(pages)));
                break;
            default:
                byte[] old = File.ReadAllBytes(older);
                int shared = Math.Min(old.Length / PageSize, pages);
                for (int i = random.Next(1, Math.Max(shared / 2, 2)); i > 0; i--)
                {
                    int number = random.Next(shared);
                    old.AsSpan(number * PageSize, PageSize).CopyTo(Page(number));
                }
                break;
        }
        // In place: whoever has it open sees it.
        using FileStream file = File.OpenWrite(database);
        file.Write(bytes);
        file.SetLength(bytes.Length);
    }
}
