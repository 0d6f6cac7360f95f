using System.Text;
using MailKit.Net.Smtp;
using Mfrelay.Core;

namespace Mfrelay.Client;

/// <summary>
/// One message on a session, from MAIL to the reply to its mail data (RFC 5321 3.3); made for it and dropped after it.
/// <para>
/// The dialog is a row of commands: [RSET] MAIL RCPT... DATA, or [RSET] MAIL RCPT... BDAT with the data of a small message. With PIPELINING
/// (RFC 2920) as many of them as the send buffer takes go out in one write, and their replies are read while that write may still be waiting,
/// so that a peer with small buffers cannot lock up with us; without it one command at a time. A message costs two round trips with DATA,
/// one with BDAT; and one with DATA too where the envelope came behind the mail data of the message before (<see cref="WriteAhead"/>).
/// </para>
/// </summary>
internal sealed partial class Transaction
{
    private const int ResetStep = -2;
    private const int MailStep = -1;

    private static readonly ReadOnlyMemory<byte> Reset = "RSET\r\n"u8.ToArray();

    private readonly OutboundSession _session;
    private readonly SpooledMessage _message;
    private readonly IReadOnlyList<OpenRecipient> _recipients;
    private readonly Outcome[] _outcomes;
    private readonly bool _smtpUtf8;

    /// <summary>Steps 0 to n-1 are the recipients, step n is DATA or BDAT.</summary>
    private readonly int _lastStep;

    /// <summary>The last step is BDAT.</summary>
    private readonly bool _chunking;

    private int _accepted;

    /// <summary>For every recipient that has no outcome of its own: the reply that refused MAIL or DATA, or the one to the mail data.</summary>
    private Outcome _rest;

    /// <summary>354 was said: mail data or a lone dot must follow.</summary>
    private bool _goAhead;

    /// <summary>The session is over, with this for every recipient that has no other outcome.</summary>
    private Outcome _broken;

    /// <summary>The mail data has its reply.</summary>
    private bool _complete;

    /// <summary>The whole envelope is on its way, behind the mail data of the transaction before: its replies come after the one to that.</summary>
    public bool IsAhead { get; private set; }

    /// <param name="recipients">At most <see cref="SessionSettings.MaxRecipientsPerTransaction"/>; ordinals count in the message's envelope.</param>
    public Transaction(OutboundSession session, SpooledMessage message, IReadOnlyList<OpenRecipient> recipients)
    {
        _session = session;
        _message = message;
        _recipients = recipients;
        _outcomes = new Outcome[recipients.Count];
        _lastStep = recipients.Count;
        _chunking = session.Has(SmtpCapabilities.Chunking);
        _smtpUtf8 = !IsAscii(message.Envelope.ReversePath);
        for (int i = 0; i < recipients.Count && !_smtpUtf8; i++)
            _smtpUtf8 = !IsAscii(RecipientOf(i).ForwardPath);
    }

    /// <summary>One for each recipient; complete when <see cref="RunAsync"/> has returned.</summary>
    public IReadOnlyList<Outcome> Outcomes => _outcomes;

    public async ValueTask RunAsync()
    {
        if (!IsAhead && !RefuseWithoutAsking())
            return;
        bool reset = _session.NeedsReset;
        _session.NeedsReset = true;
        if (IsAhead)
            await EnvelopeAheadAsync();
        else
            await EnvelopeAsync(reset ? ResetStep : MailStep);
        if (_broken.IsOpen && _goAhead && (_accepted == 0 || !_rest.IsOpen))
            await EndWithoutDataAsync();
        else if (_broken.IsOpen && _rest.IsOpen && _accepted > 0 && !_complete)
            await (_chunking ? SendChunkAsync() : SendDataAsync());
        Settle(_broken.IsOpen ? _rest : _broken);
    }

    /// <summary>
    /// Writes all of the envelope and DATA, to be sent behind the mail data of the transaction before (RFC 2920 3.1: what ends a message may be the
    /// first of a group of commands). That one must be with DATA, as this one then is: the mail server has to answer its final dot first.
    /// </summary>
    /// <returns>Octets written; 0 when there is no room, or something about a recipient or the message that has to be looked at first.</returns>
    public int WriteAhead(Span<byte> room)
    {
        int most = 64 + CommandWriter.MaxMail(_message.Envelope);
        for (int i = 0; i < _recipients.Count; i++)
            most += CommandWriter.MaxRcpt(RecipientOf(i));
        if (room.Length < most || !RefuseWithoutAsking() || Array.Exists(_outcomes, static outcome => !outcome.IsOpen))
            return 0;
        IsAhead = true;
        int step = MailStep;
        return FillWindow(room, ref step, _lastStep);
    }

    /// <summary>What we know without the mail server. False when nobody is left to ask for.</summary>
    private bool RefuseWithoutAsking()
    {
        Envelope envelope = _message.Envelope;
        bool utf8Missing = _smtpUtf8 && !_session.Has(SmtpCapabilities.UTF8);
        if (!CommandWriter.IsSafe(envelope.ReversePath) || !CommandWriter.IsSafeParameter(envelope.EnvelopeId))
            Settle(Outcome.Of(Stage.Mail, Failure.UnsafeAddress));
        else if (_session.MaxSize > 0 && _message.Size > _session.MaxSize)
            Settle(Outcome.Of(Stage.Mail, Failure.TooLarge));
        else if (_session.Settings.EightBit == EightBitPolicy.Bounce && _message.EightBit && !_session.Has(SmtpCapabilities.EightBitMime))
            Settle(Outcome.Of(Stage.Mail, Failure.NeedsEightBit));
        else if (utf8Missing && !IsAscii(envelope.ReversePath))
            Settle(Outcome.Of(Stage.Mail, Failure.NeedsSmtpUtf8));

        bool anyLeft = false;
        for (int i = 0; i < _outcomes.Length; i++)
        {
            Recipient recipient = RecipientOf(i);
            if (!CommandWriter.IsSafe(recipient.ForwardPath) || !CommandWriter.IsSafeParameter(recipient.OriginalRecipient))
                SettleOne(i, Outcome.Of(Stage.Rcpt, Failure.UnsafeAddress));
            else if (utf8Missing && !IsAscii(recipient.ForwardPath))
                SettleOne(i, Outcome.Of(Stage.Rcpt, Failure.NeedsSmtpUtf8));
            anyLeft |= _outcomes[i].IsOpen;
        }
        return anyLeft;
    }

    private async ValueTask EnvelopeAsync(int step)
    {
        // BDAT goes with the envelope only where one write takes it all; a server answers 503 or 554 when it accepted no recipient (RFC 3030 4.2).
        int last = _chunking && !(_session.Has(SmtpCapabilities.Pipelining) && _message.Size <= SmallChunk) ? _lastStep - 1 : _lastStep;
        while (true)
        {
            while (IsSettledRecipient(step))
                step++;
            if (step > last || (step == _lastStep && _accepted == 0))
                return;
            int first = step;
            int octets = FillWindow(_session.SendBuffer, ref step, last);
            await ExchangeAsync(first, step, _session.SendBuffer.AsMemory(0, octets));
            if (!_broken.IsOpen || !_rest.IsOpen)
                return;
        }
    }

    /// <summary>
    /// The replies to an envelope that is out. 354 in its place shows that each belongs to its command. Without it a reply too many to the mail data
    /// before might have shifted them, and a recipient be refused for another: RSET shows that none is left over.
    /// </summary>
    private async ValueTask EnvelopeAheadAsync()
    {
        await ReadRepliesAsync(MailStep, _lastStep + 1);
        if (!_broken.IsOpen || _goAhead)
            return;
        await ExchangeAsync(ResetStep, MailStep, Reset);
        _session.NeedsReset = false;
    }

    /// <summary>Writes the next commands: one, or with PIPELINING as many as fit.</summary>
    /// <param name="step">In: the first. Out: the one after the last.</param>
    private int FillWindow(Span<byte> room, ref int step, int last)
    {
        var commands = new CommandWriter(room);
        bool pipelining = _session.Has(SmtpCapabilities.Pipelining);
        do
        {
            if (IsSettledRecipient(step))
            {
                step++;
                continue;
            }
            if (commands.Written > 0 && (!pipelining || !Fits(step, commands.Room)))
                break;
            Write(step++, ref commands);
        }
        while (step <= last);
        return commands.Written;
    }

    private bool Fits(int step, int room) => room >= (step switch
    {
        ResetStep => 16,
        MailStep => CommandWriter.MaxMail(_message.Envelope),
        _ when step < _lastStep => CommandWriter.MaxRcpt(RecipientOf(step)),
        _ => 64 + (_chunking ? _message.Size : 0),
    });

    private void Write(int step, ref CommandWriter commands)
    {
        bool dsn = _session.Has(SmtpCapabilities.Dsn);
        if (step == ResetStep)
            commands.Text(Reset.Span);
        else if (step == MailStep)
            commands.Mail(
                _message.Envelope,
                _session.Has(SmtpCapabilities.Size) ? _message.Size : null,
                _session.Has(SmtpCapabilities.EightBitMime) && (_message.EightBit || _message.Envelope.Body == BodyType.EightBitMime),
                _smtpUtf8 && _session.Has(SmtpCapabilities.UTF8),
                dsn);
        else if (step < _lastStep)
            commands.Rcpt(RecipientOf(step), dsn);
        else if (!_chunking)
            commands.Text("DATA\r\n"u8);
        else
            WriteSmallChunk(ref commands);
    }

    private void Apply(int step, Answer answer)
    {
        Stage stage = step switch
        {
            < 0 => Stage.Mail,
            _ when step < _lastStep => Stage.Rcpt,
            _ => _chunking ? Stage.Bdat : Stage.Data,
        };
        if (Broke(stage, answer))
            return;
        bool good = answer.Class == (stage == Stage.Data ? 3 : 2);
        if (step == ResetStep && !good)
            Break(Outcome.Of(stage, Failure.Garbage));
        else if (step == _lastStep && _chunking)
            EndOfData(Stage.Bdat, answer);
        else if (step >= 0 && step < _lastStep && good)
            _accepted++;
        else if (step == _lastStep && good)
            _goAhead = true;
        else if (!good && _rest.IsOpen)
        {
            if (stage == Stage.Rcpt)
                SettleOne(step, Outcome.Of(stage, answer.Reply!));
            else if (stage == Stage.Mail || _accepted > 0)
                _rest = Outcome.Of(stage, answer.Reply!);
        }
    }

    /// <summary>Whether the session is over: no reply, 421 (RFC 5321 3.8), or one of a kind that the stage cannot have.</summary>
    private bool Broke(Stage stage, Answer answer)
    {
        if (answer.Failure != Failure.None)
            Break(Outcome.Of(stage, answer.Failure));
        else if (answer.Code == 421)
            Break(Outcome.Of(stage, answer.Reply!));
        else if (answer.Class is 2 or 3 && answer.Class != (stage == Stage.Data ? 3 : 2))
            Break(Outcome.Of(stage, Failure.Garbage));
        return !_broken.IsOpen;
    }

    private void Break(Outcome outcome)
    {
        _broken = outcome;
        if (outcome.Failure != Failure.Garbage)
            return;
        // Out of step: a refusal before it may have been meant for somebody else.
        for (int i = 0; i < _outcomes.Length; i++)
            _outcomes[i] = _outcomes[i].Reply is null ? _outcomes[i] : default;
    }

    private void Settle(Outcome outcome)
    {
        for (int i = 0; i < _outcomes.Length; i++)
            SettleOne(i, outcome);
    }

    private void SettleOne(int index, Outcome outcome)
    {
        if (_outcomes[index].IsOpen)
            _outcomes[index] = outcome;
    }

    /// <summary>A recipient that was refused without asking: its step is left out.</summary>
    private bool IsSettledRecipient(int step) => step >= 0 && step < _lastStep && !_outcomes[step].IsOpen;

    private Recipient RecipientOf(int index) => _message.Envelope.Recipients[_recipients[index].Ordinal];

    private static bool IsAscii(string text) => Ascii.IsValid(text);

    /// <summary>Sends some commands and reads their replies, the latter also while the former still wait for the peer to read.</summary>
    private async ValueTask ExchangeAsync(int first, int end, ReadOnlyMemory<byte> commands)
    {
        ValueTask<Failure> write = _session.WriteAsync(commands, _session.Settings.CommandTimeout);
        Task<Failure>? writing = write.IsCompleted ? null : write.AsTask();
        bool written = writing is null && await write == Failure.None;
        await ReadRepliesAsync(first, end);
        if (writing is not null)
            written = await writing == Failure.None;
        // Without a reply a chunk that went out whole may have been taken, whatever the replies before it were to be.
        if (written && end > _lastStep && _chunking && _broken.Failure != Failure.None)
            _broken = _broken with { Uncertain = true };
    }

    private async ValueTask ReadRepliesAsync(int first, int end)
    {
        for (int step = first; step < end && _broken.IsOpen; step++)
        {
            if (IsSettledRecipient(step))
                continue;
            bool bdat = step == _lastStep && _chunking;
            TimeSpan timeout = bdat ? _session.Settings.FinalDotTimeout : _session.Settings.CommandTimeout;
            Apply(step, await _session.ReadReplyAsync(timeout, keepText: bdat));
        }
        if (!_broken.IsOpen)
            _session.Close();
    }
}
