using Mfrelay.Core;
using Xunit;

namespace Mfrelay.Tests;

public sealed class DoneJournalTests : IDisposable
{
    private readonly State _state = new();

    public void Dispose() => _state.Dispose();

    private string PathOf(long segment) => Path.Combine(_state.Spool, SpoolFormat.DoneName(segment));

    [Fact]
    public void A_torn_entry_counts_for_nothing_and_hides_nothing_behind_it()
    {
        for (int cut = 0; cut <= 32; cut++)
        {
            long segment = 1000 + cut;
            using (var journal = new DoneJournal(_state.Spool))
                journal.Append(segment, [new(new(segment, 32), 0)]);
            byte[] bytes = File.ReadAllBytes(PathOf(segment));
            File.WriteAllBytes(PathOf(segment), bytes.AsSpan(0, cut));
            using (var journal = new DoneJournal(_state.Spool))
                journal.Append(segment, [new(new(segment, 64), 65535)]);
            SettledSet settled = DoneJournal.Read(_state.Spool, segment);
            Assert.Equal(cut == 32, settled.Contains(32, 0));
            Assert.True(settled.Contains(64, 65535));
            Assert.Equal(cut == 32 ? 2 : 1, settled.Count);
        }
    }

    [Fact]
    public void The_tail_of_a_journal_grows_with_it_and_keeps_only_what_is_asked_for()
    {
        const long segment = 1000;
        var tail = new DoneTail(_state.Spool);
        Assert.Equal(0, tail.Of(segment, 32).Count);
        using var journal = new DoneJournal(_state.Spool);
        journal.Append(segment, [new(new(segment, 32), 0), new(new(segment, 96), 1)]);
        Assert.True(tail.Of(segment, 32).Contains(32, 0));
        journal.Append(segment, [new(new(segment, 64), 2)]);
        SettledSet settled = tail.Of(segment, 64);
        Assert.Equal((true, true, 2), (settled.Contains(64, 2), settled.Contains(96, 1), settled.Count));
        Assert.Equal(3, tail.Of(segment, 32).Count);
        Assert.Equal(0, tail.Of(segment + 2, 32).Count);
        Assert.Equal(3, tail.Of(segment, 32).Count);
    }

    [Fact]
    public void Recipients_are_settled_one_by_one_however_many_a_message_has()
    {
        const int recipients = 200;
        var settled = new SettledSet();
        Delivery delivery = CommandRun.Delivery(1, "example.com", TimeSpan.Zero) with
        {
            Position = new SpoolPosition(1000, 64),
            Recipients = [.. Enumerable.Range(0, recipients).Select(i => new OpenRecipient(i, $"r{i}@example.com"))],
        };
        var open = Enumerable.Range(0, recipients).ToHashSet();
        foreach (int ordinal in new[] { 0, 63, 64, 127, 128, 199, 64 }.Concat(Enumerable.Range(0, recipients)))
        {
            settled.Add(64, ordinal);
            settled.Add(128, ordinal);
            open.Remove(ordinal);
            Assert.Equal(2 * (recipients - open.Count), settled.Count);
            Assert.Equal(open.Order(), (settled.Without(delivery)?.Recipients ?? []).Select(recipient => recipient.Ordinal));
        }
        settled.RemoveBefore(128);
        Assert.Equal((recipients, false, true), (settled.Count, settled.Contains(64, 5), settled.Contains(128, 199)));
        Assert.Equal(recipients, settled.Without(delivery)!.Recipients.Count);
    }

    [Fact]
    public void The_tail_reads_an_entry_again_that_was_half_written()
    {
        const long segment = 1000;
        var tail = new DoneTail(_state.Spool);
        using (var journal = new DoneJournal(_state.Spool))
            journal.Append(segment, [.. Enumerable.Range(1, 5000).Select(i => new SettledRecipient(new(segment, 32 * i), 0))]);
        byte[] bytes = File.ReadAllBytes(PathOf(segment));
        foreach (int cut in new[] { 0, 8, 20, 16 * 2000, (16 * 3000) + 5, bytes.Length - 7 })
        {
            // The kernel shows a write that is under way up to some octet: the length is there, or not yet.
            byte[] half = new byte[cut % 2 == 0 ? cut : bytes.Length];
            bytes.AsSpan(0, cut).CopyTo(half);
            File.WriteAllBytes(PathOf(segment), half);
            Assert.Equal(Math.Max(0, (cut / 16) - 1), tail.Of(segment, 32).Count);
        }
        File.WriteAllBytes(PathOf(segment), bytes);
        Assert.Equal(5000, tail.Of(segment, 32).Count);
    }

    [Fact]
    public void Entries_of_two_processes_do_not_overwrite_each_other()
    {
        using DoneJournal client = new(_state.Spool), cli = new(_state.Spool);
        Parallel.For(0, 400, i => (i % 2 == 0 ? client : cli).Append(5, [new(new(5, 8L * i), 1), new(new(5, 8L * i), 2)]));
        Assert.Equal(800, DoneJournal.Read(_state.Spool, 5).Count);
    }

    [Fact]
    public void More_segments_than_may_be_open_and_more_recipients_than_fit_the_stack_are_all_written()
    {
        using var journal = new DoneJournal(_state.Spool);
        for (long segment = 1; segment <= 150; segment++)
            journal.Append(segment, [.. Enumerable.Range(0, segment % 50 == 0 ? 1000 : 1).Select(i => new SettledRecipient(new(segment, 40), i))]);
        journal.Sync();
        Assert.Equal(147 + 3000, Enumerable.Range(1, 150).Sum(segment => DoneJournal.Read(_state.Spool, segment).Count));
        journal.Remove(50);
        Assert.False(File.Exists(PathOf(50)));
        Assert.Equal(0, DoneJournal.Read(_state.Spool, 50).Count);
    }

    [Fact]
    public void An_entry_of_another_segment_settles_nothing()
    {
        using (var journal = new DoneJournal(_state.Spool))
            journal.Append(5, [new(new(5, 40), 0)]);
        File.Copy(PathOf(5), PathOf(6));
        Assert.Equal(0, DoneJournal.Read(_state.Spool, 6).Count);
    }
}
