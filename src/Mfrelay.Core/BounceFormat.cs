namespace Mfrelay.Core;

/// <summary>What a bounce looks like.</summary>
public enum BounceFormat
{
    /// <summary>multipart/report (RFC 3462, 3464).</summary>
    Rfc3464,

    /// <summary>Plain text in three blocks, for bounce parsers that know the old gateway's.</summary>
    [SettingName("m-filter")]
    MFilter,
}
