using System.CommandLine;
using System.Diagnostics;
using System.Text;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>"mfrelay user ...": who may send after AUTH. The file holds no password; mf-smtp-server sees a change by itself.</summary>
internal sealed class UserCommand(CommandContext context)
{
    private const int LeastPassword = 8;
    private const int MostPassword = 1000;

    private readonly Option<string> _config = CommandSupport.ConfigOption();
    private readonly Option<bool> _json = CommandSupport.JsonOption();

    public Command Create()
    {
        var command = new Command("user", "The users that may send after AUTH (server.users_file).") { CreateAdd(), CreateRemove(), CreateList() };
        command.AddExamples(
            ("mfrelay user add alice", "asks for a password twice"),
            ("mfrelay user list", "who may send"));
        return command;
    }

    private Command CreateAdd()
    {
        var name = new Argument<string>("NAME") { Description = "The user's name, as the mail client sends it." };
        var iterations = new Option<int>("--iterations")
        {
            Description = "Rounds of PBKDF2: more are slower for a thief, and for every AUTH.",
            DefaultValueFactory = _ => ScramCredential.DefaultIterations,
        };
        var command = new Command("add", "Add a user, or give one a new password; the password is asked for, or read from standard input.") { name, iterations, _config };
        command.AddExamples(
            ("mfrelay user add alice", "asks for a password twice"),
            ("head -c 18 /dev/urandom | base64 | tee alice.pass | mfrelay user add alice", "takes a random one"));
        command.SetAction(result => Add(result.GetRequiredValue(name), result.GetValue(iterations), result.GetRequiredValue(_config), result.InvocationConfiguration));
        return command;
    }

    private Command CreateRemove()
    {
        var name = new Argument<string>("NAME") { Description = "The user's name." };
        var command = new Command("remove", "Remove a user: the next AUTH fails; sessions that are open go on.") { name, _config };
        command.AddExamples(("mfrelay user remove alice", "takes alice's right to send"));
        command.SetAction(result => Remove(result.GetRequiredValue(name), result.GetRequiredValue(_config), result.InvocationConfiguration));
        return command;
    }

    private Command CreateList()
    {
        var command = new Command("list", "List the users.") { _config, _json };
        command.AddExamples(("mfrelay user list", "prints a name per line"), ("mfrelay user list --json | jq length", "counts them"));
        command.SetAction(result => List(result.GetRequiredValue(_config), result.GetValue(_json), result.InvocationConfiguration));
        return command;
    }

    private int Add(string name, int iterations, string config, InvocationConfiguration console)
    {
        if (FileOf(config, console, out Settings? settings, out int exit) is not { } file)
            return exit;
        Language language = context.LanguageOf(settings!);
        if (!UserTable.IsName(name))
            return Wrong(console, language.Say("ユーザー名に使えるのは空白と : , = を除くASCII文字です", "a name is of printable ASCII without blank, \":\", \",\" and \"=\""));
        if (iterations is < ScramCredential.LeastIterations or > ScramCredential.MostIterations)
            return Wrong(console, $"--iterations: {ScramCredential.LeastIterations} - {ScramCredential.MostIterations}");
        if (ReadPassword(language, console) is not { } password)
            return CommandSupport.WrongUse;
        ScramCredential credential = ScramCredential.Of(Encoding.ASCII.GetBytes(password), iterations);
        return Change(file, settings!, console, users =>
        {
            bool isNew = users.Find(name) is null;
            console.Output.WriteLine(isNew
                ? language.Say($"{name} を追加しました ({file})", $"{name} was added to {file}")
                : language.Say($"{name} のパスワードを変更しました ({file})", $"{name} has a new password in {file}"));
            return users.With(name, credential);
        });
    }

    private int Remove(string name, string config, InvocationConfiguration console)
    {
        if (FileOf(config, console, out Settings? settings, out int exit) is not { } file)
            return exit;
        Language language = context.LanguageOf(settings!);
        return Change(file, settings!, console, users =>
        {
            if (users.Find(name) is null)
            {
                console.Error.WriteLine($"mfrelay: {language.Say($"{name} というユーザーはありません", $"there is no user {name}")}");
                return null;
            }
            console.Output.WriteLine(language.Say($"{name} を削除しました ({file})", $"{name} was removed from {file}"));
            return users.Without(name);
        });
    }

    private static int List(string config, bool asJson, InvocationConfiguration console)
    {
        if (FileOf(config, console, out _, out int exit) is not { } file)
            return exit;
        try
        {
            IEnumerable<string> names = Read(file).Names;
            if (asJson)
                console.Output.WriteJson(names);
            foreach (string name in asJson ? [] : names)
                console.Output.WriteLine(name);
            return 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            return Failed(file, e, console);
        }
    }

    // Not LoadSettings: a users_file that is not there yet is an error of the config, and this command is what mends it.
    private static string? FileOf(string config, InvocationConfiguration console, out Settings? settings, out int exit)
    {
        ConfigLoad load = ConfigFile.Load(config, withUsers: false);
        (settings, exit) = (load.Settings, ConfigLoad.ExitCode);
        if (settings is null)
            console.Error.WriteLine(string.Join('\n', load.Errors));
        else if (settings.Server.UsersFile.Length == 0)
            console.Error.WriteLine($"{config}: server.users_file: this is not set; write users_file = \"/etc/mfrelay/users\" or the like below [server]");
        else
            return settings.Server.UsersFile;
        return null;
    }

    private static int Change(string file, Settings settings, InvocationConfiguration console, Func<UserTable, UserTable?> change)
    {
        try
        {
            if (change(Read(file)) is not { } changed)
                return CommandSupport.Failed;
            changed.Save(file, next => GiveAway(next, File.Exists(file) ? file : settings.StateDirectory));
            return 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            return Failed(file, e, console);
        }
    }

    private static UserTable Read(string file) => File.Exists(file) ? UserTable.Parse(File.ReadAllText(file)) : UserTable.Empty;

    // Root makes the file, the daemon's user reads it: the owner of the old one, or of the state directory.
    private static void GiveAway(string file, string like)
    {
        if (Environment.UserName is not "root" || !Path.Exists(like))
            return;
        using var chown = Process.Start(new ProcessStartInfo("chown", ["--reference", like, file]) { UseShellExecute = false })!;
        chown.WaitForExit();
    }

    private string? ReadPassword(Language language, InvocationConfiguration console)
    {
        bool asks = ReferenceEquals(console.Output, Console.Out) && !Console.IsInputRedirected;
        string password = asks ? Ask(language.Say("パスワード: ", "Password: ")) : context.Input.ReadLine() ?? "";
        string? wrong = password.Length is < LeastPassword or > MostPassword || password.Any(c => c is < ' ' or > '~')
            ? language.Say($"パスワードはASCII文字で{LeastPassword}文字以上にしてください", $"a password is of {LeastPassword} or more printable ASCII characters")
            : asks && !string.Equals(password, Ask(language.Say("もう一度: ", "Again: ")), StringComparison.Ordinal)
                ? language.Say("パスワードが一致しません", "the two are not the same")
                : null;
        if (wrong is null)
            return password;
        Wrong(console, wrong);
        return null;
    }

    private static string Ask(string prompt)
    {
        Console.Error.Write(prompt);
        var text = new StringBuilder();
        while (Console.ReadKey(intercept: true) is var key && key.Key != ConsoleKey.Enter)
        {
            if (key.Key == ConsoleKey.Backspace && text.Length > 0)
                text.Length--;
            else if (key.Key != ConsoleKey.Backspace)
                text.Append(key.KeyChar);
        }
        Console.Error.WriteLine();
        return text.ToString();
    }

    private static int Wrong(InvocationConfiguration console, string message)
    {
        console.Error.WriteLine($"mfrelay: {message}");
        return CommandSupport.WrongUse;
    }

    private static int Failed(string file, Exception e, InvocationConfiguration console)
    {
        console.Error.WriteLine(e is FormatException ? $"{file}: {e.Message}" : $"mfrelay: {e.Message}");
        return e is UnauthorizedAccessException ? CommandSupport.NoRights : CommandSupport.Failed;
    }
}
