using System.Text;
using Mfrelay.Core;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

public sealed class AuthExchangeTests
{
    // The example of RFC 7677 3.
    private static readonly UserTable Users = UserTable.Empty.With("user", ScramCredential.Of("pencil"u8, Convert.FromBase64String("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096));

    [Fact]
    public void Scram_goes_as_in_the_example_of_rfc_7677()
    {
        AuthExchange exchange = Scram();
        Assert.Equal("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", Say(exchange, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
        Assert.Equal("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            Say(exchange, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
        AuthClaim? claim = exchange.Take([]).Claim;
        Assert.Equal(("user", true), (claim?.Name, claim?.IsProven));
    }

    [Theory]
    [InlineData("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVA=", true)] // wrong proof
    [InlineData("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzb", true)] // short proof
    [InlineData("c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", false)] // another header
    [InlineData("c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", false)] // only its own nonce
    [InlineData("c=biws", false)]
    [InlineData("", false)]
    public void A_last_message_that_is_wrong_proves_nothing(string message, bool isClaim)
    {
        AuthExchange exchange = Scram();
        Say(exchange, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        AuthMove move = exchange.Take(Encoding.UTF8.GetBytes(message));
        Assert.Null(move.Challenge);
        Assert.Equal(isClaim, move.Claim is { IsProven: false });
    }

    [Theory]
    [InlineData("p=tls-unique,,n=user,r=rOprNGfwEbeRWgbNEkqO")]
    [InlineData("n,a=other,n=user,r=rOprNGfwEbeRWgbNEkqO")]
    [InlineData("n,,m=x,n=user,r=rOprNGfwEbeRWgbNEkqO")]
    [InlineData("n,,n=user,r=")]
    [InlineData("n,,n=user")]
    [InlineData("")]
    public void A_first_message_that_is_not_taken_ends_it(string message) =>
        Assert.Equal(default, Scram().Take(Encoding.UTF8.GetBytes(message)));

    [Fact]
    public void A_name_that_does_not_exist_gets_a_salt_that_stays_the_same()
    {
        string first = Say(Scram(), "n,,n=nobody,r=rOprNGfwEbeRWgbNEkqO");
        Assert.Equal(first, Say(Scram(), "n,,n=nobody,r=rOprNGfwEbeRWgbNEkqO"));
        Assert.NotEqual(first, Say(Scram(), "n,,n=nobodx,r=rOprNGfwEbeRWgbNEkqO"));
    }

    [Fact]
    public void A_name_that_does_not_exist_keeps_its_salt_over_a_restart_and_a_change_of_users()
    {
        using var directory = new TestDirectory();
        string path = Path.Combine(directory.Path, "users");
        Users.Save(path);
        string[] lines = File.ReadAllLines(path);
        string key = Assert.Single(lines, line => line.StartsWith("#salts ", StringComparison.Ordinal));
        // As another process would have made it.
        File.WriteAllLines(path, lines.Select(line => line == key ? $"#salts {Convert.ToBase64String(new byte[32])}" : line));
        UserTable read = UserTable.Parse(File.ReadAllText(path));
        byte[] salt = read.SaltOf("nobody");
        Assert.NotEqual(Users.SaltOf("nobody"), salt);
        Assert.Equal(read.Find("user")!.Salt.Length, salt.Length);

        read.With("b", ScramCredential.Of("secret"u8, 5000)).Without("user").Save(path);
        Assert.Equal(salt, UserTable.Parse(File.ReadAllText(path)).SaltOf("nobody"));
    }

    [Theory]
    [InlineData("#salts")]
    [InlineData("#salts AAAA")]
    [InlineData("#salts !")]
    public void A_file_of_users_without_a_key_of_salts_has_that_of_the_process(string line) =>
        Assert.Equal(UserTable.Empty.SaltOf("nobody"), UserTable.Parse(line + "\n").SaltOf("nobody"));

    [Fact]
    public void A_file_of_users_comes_back_as_it_was_and_is_for_its_owner_alone()
    {
        using var directory = new TestDirectory();
        string path = Path.Combine(directory.Path, "users");
        Users.With("b", ScramCredential.Of("secret"u8, 5000)).Save(path);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        string text = File.ReadAllText(path);
        Assert.DoesNotContain("pencil", text, StringComparison.Ordinal);
        UserTable read = UserTable.Parse(text);
        Assert.Equal(["b", "user"], read.Names);
        Assert.True(read.Find("user")!.IsPassword("pencil"u8));
        Assert.False(read.Find("user")!.IsPassword("pencils"u8));
    }

    [Theory]
    [InlineData("user")]
    [InlineData("user:plaintext")]
    [InlineData("us er:SCRAM-SHA-256$4096:c2FsdHNhbHQ=$AAAA:AAAA")]
    [InlineData("user:SCRAM-SHA-256$4096:c2FsdHNhbHQ=$AAAA:AAAA")]
    [InlineData("user:SCRAM-SHA-256$1:W22ZaJ0SNY7soEsUEjb6gQ==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
    public void A_line_that_is_no_user_is_named_by_its_number_and_not_shown(string line)
    {
        FormatException e = Assert.Throws<FormatException>(() => UserTable.Parse($"# comment\n\n{line}\n"));
        Assert.Equal("line 3 is no user; \"mfrelay user add NAME\" writes one", e.Message);
    }

    private static AuthExchange Scram() => new(ScramCredential.Mechanism, Users, static () => "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");

    private static string Say(AuthExchange exchange, string message) => Encoding.UTF8.GetString(exchange.Take(Encoding.UTF8.GetBytes(message)).Challenge ?? []);
}
