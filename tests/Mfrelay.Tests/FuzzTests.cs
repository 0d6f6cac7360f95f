extern alias fuzz;

using fuzz::Mfrelay.Fuzz;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>Every target on its corpus, and on a bounded number of mutations: always the same ones, so that a failure can be had again.</summary>
public sealed class FuzzTests
{
    private const ulong Seed = 20_260_101;

    public static TheoryData<string> Targets() => [.. FuzzTarget.All.Select(target => target.Name)];

    [Theory]
    [MemberData(nameof(Targets))]
    public void The_corpus_and_mutations_of_it_pass_the_oracles(string name)
    {
        FuzzTarget target = FuzzTarget.All.Single(target => target.Name == name);
        List<byte[]> corpus = Corpus.Load(target);
        Assert.NotEmpty(corpus);
        foreach (byte[] input in corpus)
            target.Run(input);
        var mutator = new Mutator(target);
        var chance = new Chance(Seed);
        // Whole sessions, files and configs take a thousand times as long as a parser.
        int mutations = name is "dialog" or "config" or "spool" ? 200 : 10_000;
        for (int i = 0; i < mutations; i++)
        {
            byte[] input = mutator.Mutate(ref chance, corpus, corpus[chance.Below(corpus.Count)]).ToArray();
            Exception? failure = Record.Exception(() => target.Run(input));
            if (failure is not null)
                Assert.Fail($"{name}: {Convert.ToHexStringLower(input)}\n{failure}");
        }
    }
}
