using System.Collections;
using System.Diagnostics.CodeAnalysis;

namespace Mfrelay.Core;

/// <summary>
/// Puts the values of config files into the records, one file after the other, so that each value of each file is checked, also one
/// that a later file replaces.
/// </summary>
[UnconditionalSuppressMessage("Trimming", "IL2072", Justification = Setting.Kept)]
internal sealed class ConfigBinder(List<ConfigError> errors)
{
    private readonly Dictionary<string, ConfigPlace> _places = new(StringComparer.Ordinal);
    private readonly Dictionary<Type, IReadOnlyList<Setting>> _settings = [];
    private IReadOnlyList<string>? _allNames;

    /// <summary>Changes the record in place: it must be fresh and not yet shared.</summary>
    public void Bind(ConfigTable table, Settings settings) => Bind(table, settings, "", "");

    /// <summary>Where the value in force was given: of "server.listen[1]" or "mail_server[0].host"; null when it is a default.</summary>
    public ConfigPlace? PlaceOf(string path) => _places.TryGetValue(path, out ConfigPlace place) ? place : null;

    /// <param name="name">"mail_server.": the key as error texts name it.</param>
    /// <param name="path">"mail_server[3].": the key as places are kept.</param>
    private void Bind(ConfigTable table, object record, string name, string path)
    {
        if (!_settings.TryGetValue(record.GetType(), out IReadOnlyList<Setting>? settings))
            _settings[record.GetType()] = settings = Setting.Of(record.GetType());
        foreach ((string key, ConfigNode node) in table.Entries)
        {
            Setting? setting = settings.FirstOrDefault(setting => setting.Key.Equals(key, StringComparison.Ordinal));
            if (setting is null)
                Report(node, name + key, UnknownKey.Explain(name, key, settings, _allNames ??= UnknownKey.AllNames()));
            else if (setting.IsTable)
                BindTables(setting, node, record, name + key, path + key);
            else if (setting.IsList)
                BindList(setting, node, record, name + key, path + key);
            else if (BindValue(setting, node, name + key, path + key) is { } value)
                setting.Set(record, value);
        }
        foreach (Setting missing in settings.Where(setting => setting.IsRequired && table.Find(setting.Key) is null))
            Report(table, name + missing.Key, $"this is missing here; write {missing.Key} = {SettingValue.Format(missing.Attribute.Example!)} or the like");
    }

    private object? BindValue(Setting setting, ConfigNode node, string name, string path)
    {
        object? value = SettingValue.Read(setting, node, out string error);
        if (value is null)
            Report(node, name, error);
        else
            _places[path] = node.Place;
        return value;
    }

    private void BindList(Setting setting, ConfigNode node, object record, string name, string path)
    {
        var items = new List<object>();
        if (node is not ConfigArray array)
        {
            Report(node, name, $"{node.Described}; write a list such as {SettingValue.Format(setting.Default!)}");
        }
        else
        {
            if (array.Items.Count == 0 && setting.Attribute.NotEmpty)
                Report(node, name, $"the list is empty; write at least one, such as {SettingValue.Format(setting.Default!)}");
            _places[path] = node.Place;
            foreach (ConfigNode item in array.Items)
            {
                if (BindValue(setting, item, name, $"{path}[{items.Count}]") is { } value)
                    items.Add(value);
            }
        }
        setting.SetList(record, items);
    }

    private void BindTables(Setting setting, ConfigNode node, object record, string name, string path)
    {
        if (!setting.IsList && node is ConfigTable table)
        {
            Bind(table, setting.Get(record)!, name + ".", path + ".");
        }
        else if (setting.IsList && node is ConfigArray array && array.Items.All(item => item is ConfigTable))
        {
            List<object> items = [.. ((IEnumerable)setting.Get(record)!).Cast<object>()];
            foreach (ConfigTable item in array.Items.Cast<ConfigTable>())
            {
                object added = Activator.CreateInstance(setting.Type)!;
                _places[$"{path}[{items.Count}]"] = item.Place;
                Bind(item, added, name + ".", $"{path}[{items.Count}].");
                items.Add(added);
            }
            setting.SetList(record, items);
        }
        else
        {
            string header = setting.IsList ? $"[[{name}]], once for each" : $"[{name}]";
            Report(node, name, $"{node.Described}; write {header}, and the settings below it");
        }
    }

    private void Report(ConfigNode node, string name, string message) => errors.Add(new(node.Place.File, node.Place.Line, name, message));
}
