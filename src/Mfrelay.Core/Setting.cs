using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Mfrelay.Core;

/// <summary>A property marked with <see cref="SettingAttribute"/>, as the binder and the sample see it.</summary>
[UnconditionalSuppressMessage("Trimming", "IL2067", Justification = Setting.Kept)]
[UnconditionalSuppressMessage("Trimming", "IL2070", Justification = Setting.Kept)]
[UnconditionalSuppressMessage("AOT", "IL3050", Justification = "Of every value type there is a setting whose default is a list.")]
internal sealed class Setting
{
    /// <summary>Why a record may be looked into where programs are compiled ahead.</summary>
    public const string Kept = "packaging/publish.targets keeps all of this assembly.";

    private readonly PropertyInfo _property;

    private Setting(PropertyInfo property, SettingAttribute attribute, object defaults)
    {
        _property = property;
        Attribute = attribute;
        Key = attribute.Key ?? SnakeCase(property.Name);
        Default = property.GetValue(defaults);
        IsRequired = property.IsDefined(typeof(RequiredMemberAttribute));
        IsList = property.PropertyType.IsGenericType && property.PropertyType.GetGenericTypeDefinition() == typeof(IReadOnlyList<>);
        Type = IsList ? property.PropertyType.GetGenericArguments()[0] : property.PropertyType;
        IsTable = AttributesOf(Type).Any();
        Min = BoundOf(attribute.Min);
        Max = BoundOf(attribute.Max);
    }

    public SettingAttribute Attribute { get; }

    public string Key { get; }

    /// <summary>Of the value; of a list: of its items.</summary>
    public Type Type { get; }

    public bool IsList { get; }

    /// <summary>A record with settings of its own: [key], or [[key]] when it is a list.</summary>
    public bool IsTable { get; }

    public bool IsRequired { get; }

    /// <summary>Null for what is required.</summary>
    public object? Default { get; }

    public IComparable? Min { get; }

    public IComparable? Max { get; }

    /// <summary>The settings of a record, in the order in which it declares them.</summary>
    public static IReadOnlyList<Setting> Of(Type record)
    {
        // Not through a constructor call in source, so "required" members may stay unset.
        object defaults = Activator.CreateInstance(record)!;
        return [.. AttributesOf(record).Select(item => new Setting(item.Property, item.Attribute, defaults))];
    }

    public static string SnakeCase(string name) => JsonNamingPolicy.SnakeCaseLower.ConvertName(name);

    public object? Get(object record) => _property.GetValue(record);

    /// <summary>Init-only binds the compiler, not reflection: only for a record that nobody else has seen yet.</summary>
    public void Set(object record, object? value) => _property.SetValue(record, value);

    /// <summary>Sets a list from its items.</summary>
    public void SetList(object record, IReadOnlyCollection<object> items)
    {
        Array list = Array.CreateInstance(Type, items.Count);
        ((ICollection)items.ToArray()).CopyTo(list, 0);
        Set(record, list);
    }

    private static IEnumerable<(PropertyInfo Property, SettingAttribute Attribute)> AttributesOf(Type record) =>
        from property in record.GetProperties(BindingFlags.Public | BindingFlags.Instance)
        let attribute = property.GetCustomAttribute<SettingAttribute>()
        where attribute is not null
        orderby attribute.Line
        select (property, attribute);

    private IComparable? BoundOf(string? text) => text is null ? null : SettingValue.ParseBound(Type, text);
}
