using System.Text;

namespace Mfrelay.Core;

/// <summary>The commented sample, packaging/mfrelay.toml: every setting with its line of documentation, its range and its default.</summary>
internal static class ConfigSample
{
    private const string Preface = """
        # mfrelay: the configuration of mf-smtp-server, mf-smtp-client and mfrelay.
        #
        # Every setting is here with its default: take away the "#" before one to change it. Files conf.d/*.toml beside this one are read
        # after it, in the order of their names: a later setting wins, [[mail_server]] entries add up.
        # Durations: "500ms", "30s", "5m", "1h", "5d". Sizes: "50MB" (50,000,000 octets), "64KiB" (65,536 octets).
        #
        # See what you wrote with: mfrelay config check

        """;

    public static string Text()
    {
        var text = new StringBuilder(Preface.ReplaceLineEndings("\n"));
        IReadOnlyList<Setting> all = Setting.Of(typeof(Settings));
        foreach (Setting setting in all.Where(setting => !setting.IsTable))
            AppendSetting(text, setting);
        foreach (Setting table in all.Where(setting => setting.IsTable))
        {
            text.Append($"\n\n# {table.Attribute.Doc}.\n{(table.IsList ? $"#[[{table.Key}]]" : $"[{table.Key}]")}\n");
            foreach (Setting setting in Setting.Of(table.Type))
                AppendSetting(text, setting);
        }
        return text.ToString();
    }

    private static void AppendSetting(StringBuilder text, Setting setting)
    {
        string range = SettingValue.Range(setting) is { Length: > 0 } words ? $". {char.ToUpperInvariant(words[0])}{words[1..]}" : "";
        string fallback = setting.IsRequired ? ". Required" : setting.Attribute.DefaultIs is { } inWords ? $". Default: {inWords}" : "";
        text.Append($"\n# {setting.Attribute.Doc}{range}{fallback}.\n#{setting.Key} = {SettingValue.Format(setting.Attribute.Example ?? setting.Default!)}\n");
    }
}
