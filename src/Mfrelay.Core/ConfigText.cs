using System.Collections;
using System.Text;

namespace Mfrelay.Core;

/// <summary>
/// Settings as a config file that says all of them: what "mfrelay config show" prints, and what a daemon leaves in the run directory for
/// "mfrelay config diff". There are no secrets in it: those are in files of their own.
/// </summary>
public static class ConfigText
{
    public static string Of(Settings settings)
    {
        var text = new StringBuilder();
        foreach ((string table, string key, string value) in Entries(settings))
            text.Append(key.Length == 0 ? $"\n{table}\n" : $"{key} = {value}\n");
        return text.ToString();
    }

    /// <summary>"server.listen" and its value as one writes it; "mail_server example.com 192.0.2.1:25.port".</summary>
    /// <param name="withDefaults">Whether tables that there are several of have what is as it would be without a word.</param>
    public static IReadOnlyDictionary<string, string> Flat(Settings settings, bool withDefaults = true)
    {
        var flat = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (Setting setting in Setting.Of(typeof(Settings)))
        {
            if (!setting.IsTable)
                flat[setting.Key] = Value(setting, settings);
            else if (!setting.IsList)
                Add(flat, $"{setting.Key}.", setting.Get(settings)!, withDefaults: true);
            else
                AddAll(flat, setting, ((IEnumerable)setting.Get(settings)!).Cast<object>(), withDefaults);
        }
        return flat;
    }

    private static void AddAll(Dictionary<string, string> flat, Setting setting, IEnumerable<object> records, bool withDefaults)
    {
        foreach ((int index, object record) in records.Index())
            Add(flat, record is MailServer server ? $"{setting.Key} {server.Key}: " : $"{setting.Key}[{index}].", record, withDefaults);
    }

    private static void Add(Dictionary<string, string> flat, string prefix, object record, bool withDefaults)
    {
        foreach (Setting setting in Setting.Of(record.GetType()))
        {
            string value = Value(setting, record);
            if (withDefaults || setting.IsRequired || setting.Default is null || !string.Equals(value, SettingValue.Format(setting.Default), StringComparison.Ordinal))
                flat[prefix + setting.Key] = value;
        }
    }

    private static IEnumerable<(string Table, string Key, string Value)> Entries(Settings settings)
    {
        IReadOnlyList<Setting> all = Setting.Of(typeof(Settings));
        foreach (Setting setting in all.Where(setting => !setting.IsTable))
            yield return ("", setting.Key, Value(setting, settings));
        foreach (Setting table in all.Where(setting => setting.IsTable))
        {
            object value = table.Get(settings)!;
            foreach (object record in table.IsList ? ((IEnumerable)value).Cast<object>() : [value])
            {
                yield return (table.IsList ? $"[[{table.Key}]]" : $"[{table.Key}]", "", "");
                foreach (Setting setting in Setting.Of(table.Type))
                    yield return ("", setting.Key, Value(setting, record));
            }
        }
    }

    private static string Value(Setting setting, object record) => SettingValue.Format(setting.Get(record)!);
}
