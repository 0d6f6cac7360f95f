using BenchmarkDotNet.Attributes;
using Mfrelay.Core;

namespace Mfrelay.Bench;

/// <summary>Twenty sessions append a message of 4 KiB each and wait until all are on stable storage; the figures are per message.</summary>
public class SpoolBenchmarks : IDisposable
{
    private const int Sessions = 20;
    private const int Rounds = 5;

    private readonly byte[] _mail = Samples.Mail(4096);
    private readonly List<SpooledRecord> _last = [];
    private Scratch? _scratch;
    private QueueIdSource? _ids;
    private SpoolWriter? _spool;
    private SpoolReader? _reader;
    private IncomingMessage[] _messages = [];
    private Delivery? _delivery;

    [GlobalSetup]
    public async Task SetupAsync()
    {
        _scratch = new Scratch();
        _ids = new QueueIdSource(TimeProvider.System);
        _spool = new SpoolWriter(_scratch.Directory.Spool, SpoolOwner.Server, _ids, Keep);
        _messages = [.. Enumerable.Range(0, Sessions).Select(_ => _spool.NewMessage())];
        await AppendAsync();
        SpooledRecord record = _last[0];
        _delivery = Samples.Delivery(record.Envelope.Id, record.Position, record.Size);
        _reader = new SpoolReader(_scratch.Directory.Spool);
    }

    [Benchmark(OperationsPerInvoke = Sessions * Rounds)]
    public Task AppendAsync() => Task.WhenAll(_messages.Select(SessionAsync));

    [Benchmark]
    public long Open()
    {
        using SpooledMessage? message = _reader!.Open(_delivery!, out string? damage);
        return message?.Size ?? throw new InvalidDataException(damage);
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _reader?.Dispose();
        _spool?.Dispose();
        _scratch?.Dispose();
        GC.SuppressFinalize(this);
    }

    private void Keep(IReadOnlyList<SpooledRecord> records)
    {
        if (_last.Count == 0)
            _last.Add(records[0]);
    }

    private async Task SessionAsync(IncomingMessage message)
    {
        for (int i = 0; i < Rounds; i++)
        {
            QueueId id = _ids!.Next();
            message.Begin(id);
            message.Append(_mail);
            if (await message.CommitAsync(Samples.Envelope(id)) != SpoolResult.Durable)
                throw new IOException("not durable");
        }
    }
}

/// <summary>A hundred rows of the queue table in one transaction; the figures are per row, opening the database left out.</summary>
public class QueueStoreBenchmarks : IDisposable
{
    private const int Rows = 100;

    private Scratch? _scratch;
    private QueueStore? _store;
    private Delivery[] _rows = [];
    private long[] _scattered = [];

    [GlobalSetup(Targets = [nameof(InsertReadDeleteAsync), nameof(InThreeTurnsAsync)])]
    public void Setup()
    {
        _scratch = new Scratch();
        _store = new QueueStore(_scratch.Directory, () => new RouteTable([]), Samples.SilentLog(), TimeProvider.System);
        var ids = new QueueIdSource(TimeProvider.System);
        _rows = [.. Enumerable.Range(0, Rows).Select(i => Samples.Delivery(ids.Next(), new SpoolPosition(1, i * 4096), 4096))];
    }

    [GlobalSetup(Target = nameof(ReadAndUpdateScatteredAsync))]
    public async Task SetupLongQueueAsync()
    {
        Setup();
        _scattered = await _store!.RunAsync(table =>
        {
            table.Insert(Enumerable.Repeat(_rows, Rows).SelectMany(rows => rows));
            return table.ReadAfter(0, int.MaxValue).Where((_, i) => i % Rows == 0).Select(row => row.Key).ToArray();
        });
    }

    /// <summary>Everything in one turn of the lease, as under load: insert, read, delete.</summary>
    [Benchmark(OperationsPerInvoke = Rows)]
    public Task<int> InsertReadDeleteAsync() => _store!.RunAsync(table =>
    {
        table.Insert(_rows);
        IReadOnlyList<Delivery> rows = table.ReadAfter(0, Rows);
        foreach (Delivery row in rows)
            table.Delete(row.Key);
        return rows.Count;
    });

    /// <summary>In three turns, as the two daemons do it when there is little to do: the database is opened and closed each time.</summary>
    [Benchmark(OperationsPerInvoke = Rows)]
    public async Task<int> InThreeTurnsAsync()
    {
        await _store!.RunAsync(table =>
        {
            table.Insert(_rows);
            return true;
        });
        IReadOnlyList<Delivery> rows = await _store.RunAsync(static table => table.ReadAfter(0, Rows));
        return await _store.RunAsync(table =>
        {
            foreach (Delivery row in rows)
                table.Delete(row.Key);
            return rows.Count;
        });
    }

    /// <summary>As retries that fall due one by one: every hundredth row of a long queue is read in one turn and updated in another.</summary>
    [Benchmark(OperationsPerInvoke = Rows)]
    public async Task<int> ReadAndUpdateScatteredAsync()
    {
        IReadOnlyList<Delivery> rows = await _store!.RunAsync(table => table.Read(_scattered));
        return await _store.RunAsync(table => rows.Count(row => table.Update(row with { Attempts = row.Attempts + 1 })));
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _store?.Dispose();
        _scratch?.Dispose();
        GC.SuppressFinalize(this);
    }
}
