using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>How to talk to mail servers. Defaults of the timeouts: RFC 5321 4.5.3.2.</summary>
internal sealed record SessionSettings
{
    /// <summary>The argument of EHLO.</summary>
    public required string HostName { get; init; }

    /// <summary>For each address of a host name.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Until the whole 220 is here (4.5.3.2.1).</summary>
    public TimeSpan GreetingTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>For the reply to EHLO, MAIL, RCPT, DATA, RSET (4.5.3.2.2 to 4).</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>For one block of mail data to be taken (4.5.3.2.5).</summary>
    public TimeSpan DataTimeout { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>For the reply to the final dot or the last chunk (4.5.3.2.6). Too short means duplicates (RFC 1047).</summary>
    public TimeSpan FinalDotTimeout { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>For the reply to QUIT: nothing depends on it.</summary>
    public TimeSpan QuitTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>RFC 5321 4.5.3.1.8: every server takes 100. Whoever starts a transaction cuts by it.</summary>
    public int MaxRecipientsPerTransaction { get; init; } = 100;

    /// <summary>What becomes of 8-bit mail data when the mail server does not say 8BITMIME.</summary>
    public EightBitPolicy EightBit { get; init; } = EightBitPolicy.Send;

    /// <summary>Octets in which large mail data is read and sent.</summary>
    public int DataBlock { get; init; } = 128 * 1024;

    /// <summary>How long an idle session is kept.</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Transactions of one session; 0: no limit.</summary>
    public int MessagesPerSession { get; init; } = 100;

    /// <summary>0: no limit.</summary>
    public int MessagesPerSecond { get; init; }

    /// <summary>What holds for one mail server: its own settings, and those of [client] where it has none.</summary>
    public static SessionSettings Of(Settings settings, MailServer server)
    {
        ClientSettings client = settings.Client;
        return new SessionSettings
        {
            HostName = server.EhloName.Length > 0 ? server.EhloName : settings.HostName,
            ConnectTimeout = Own(server.ConnectTimeout, client.ConnectTimeout),
            GreetingTimeout = Own(server.GreetingTimeout, client.GreetingTimeout),
            CommandTimeout = Own(server.CommandTimeout, client.CommandTimeout),
            DataTimeout = Own(server.DataTimeout, client.DataTimeout),
            FinalDotTimeout = Own(server.FinalDotTimeout, client.FinalDotTimeout),
            IdleTimeout = Own(server.IdleTimeout, client.IdleTimeout),
            MessagesPerSession = server.MessagesPerSession > 0 ? server.MessagesPerSession : client.MessagesPerSession,
            MessagesPerSecond = server.MessagesPerSecond,
            EightBit = client.EightBit,
            MaxRecipientsPerTransaction = client.MaxRecipientsPerTransaction,
        };
    }

    private static TimeSpan Own(TimeSpan own, TimeSpan ofClient) => own > TimeSpan.Zero ? own : ofClient;
}
