using System.Text.Json;
using Mfrelay.Core;

namespace Mfrelay.Cli;

/// <summary>A message of the queue in files: QUEUE-ID.eml is its mail data, QUEUE-ID.json its envelope with the recipients that are still open.</summary>
internal static class StoredMail
{
    public static void CopyTo(SpooledMessage message, Stream output)
    {
        byte[] scratch = new byte[64 * 1024];
        for (long offset = 0; offset < message.Size;)
        {
            ReadOnlyMemory<byte> part = message.Read(offset, scratch);
            output.Write(part.Span);
            offset += part.Length;
        }
    }

    public static EnvelopeFile EnvelopeJson(Envelope envelope, IReadOnlySet<int>? ordinals = null) => new(
        1, envelope.Id.ToString(), envelope.Arrival, envelope.ReversePath, envelope.Body, envelope.SmtpUtf8, envelope.Return, envelope.EnvelopeId,
        envelope.ClientAddress, envelope.HeloName, envelope.Protocol,
        [.. envelope.Recipients.Where((_, ordinal) => ordinals?.Contains(ordinal) != false)]);

    public static EnvelopeFile? Read(string path) => JsonSerializer.Deserialize<EnvelopeFile>(File.ReadAllText(path), CommandSupport.JsonOptions);
}

/// <param name="Version">Of this form, 1.</param>
internal sealed record EnvelopeFile(
    int Version, string Id, DateTimeOffset Arrival, string ReversePath, BodyType Body, bool SmtpUtf8, DsnReturn Return, string? EnvelopeId,
    string Client, string Helo, string Protocol, IReadOnlyList<Recipient> Recipients)
{
    /// <summary>MAIL and RCPT as they came.</summary>
    public IEnumerable<string> Commands()
    {
        string body = Body switch { BodyType.SevenBit => "", BodyType.EightBitMime => " BODY=8BITMIME", BodyType.BinaryMime => " BODY=BINARYMIME" };
        string ret = Return switch { DsnReturn.Unspecified => "", DsnReturn.Full => " RET=FULL", DsnReturn.Headers => " RET=HDRS" };
        yield return $"MAIL FROM:<{ReversePath}>{body}{(SmtpUtf8 ? " SMTPUTF8" : "")}{ret}{(EnvelopeId is null ? "" : $" ENVID={EnvelopeId}")}";
        foreach (Recipient recipient in Recipients)
        {
            string original = recipient.OriginalRecipient is null ? "" : $" ORCPT={recipient.OriginalRecipient}";
            yield return $"RCPT TO:<{recipient.ForwardPath}>{NotifyText(recipient.Notify)}{original}";
        }
    }

    private static string NotifyText(DsnNotify notify) => notify == DsnNotify.Unspecified
        ? ""
        : $" NOTIFY={notify.ToString().ToUpperInvariant().Replace(" ", "", StringComparison.Ordinal)}";
}
