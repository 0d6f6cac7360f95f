using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// Who is told of what (RFC 3461 4.1, 5.2):
/// <code>
/// NOTIFY       failed   delayed   relayed
/// (none)       yes      yes       no
/// NEVER        no       no        no
/// FAILURE      yes      no        no
/// DELAY        no       yes       no
/// SUCCESS      no       no        yes
/// </code>
/// Several values add up. Nobody is told of mail from the null reverse-path (RFC 5321 4.5.5): a report never causes another one.
/// </summary>
internal static class DsnPolicy
{
    /// <param name="passedOn">
    /// For relayed: the mail server announced DSN, so the recipient's NOTIFY went along and the report is its business (RFC 3461 5.2.1).
    /// </param>
    public static bool Wants(Envelope envelope, Recipient recipient, DsnAction action, bool passedOn = false)
    {
        DsnNotify notify = recipient.Notify;
        if (envelope.ReversePath.Length == 0 || notify.HasFlag(DsnNotify.Never))
            return false;
        return action switch
        {
            DsnAction.Failed => notify == DsnNotify.Unspecified || notify.HasFlag(DsnNotify.Failure),
            DsnAction.Delayed => notify == DsnNotify.Unspecified || notify.HasFlag(DsnNotify.Delay),
            DsnAction.Relayed => notify.HasFlag(DsnNotify.Success) && !passedOn,
        };
    }
}
