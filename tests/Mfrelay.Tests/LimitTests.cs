using Mfrelay.Core;
using Mfrelay.Server;
using Xunit;

namespace Mfrelay.Tests;

/// <summary>Limits of time and of each client; those that a dialog alone can reach are in dialogs/.</summary>
public sealed class LimitTests
{
    private const string Client = "192.0.2.1";

    private readonly VirtualTime _time = new(new DateTimeOffset(2024, 11, 24, 4, 5, 6, TimeSpan.Zero));

    [Fact]
    public async Task One_client_has_no_more_sessions_than_it_may()
    {
        await using Receiving receiving = await StartAsync(server => server with { MaxConnectionsPerClient = 2 });
        ReceivingSession first = await GreetedAsync(receiving, Client);
        await GreetedAsync(receiving, Client);
        Assert.Equal("421 4.3.2 Too many connections, try again later", await receiving.Connect(Client).ReplyAsync());
        await GreetedAsync(receiving, "192.0.2.2");
        first.End();
        await first.EndedAsync();
        await GreetedAsync(receiving, Client);
        Assert.Equal("421 4.3.2 Too many connections, try again later", await receiving.Connect(Client).ReplyAsync());
        Assert.Equal(["WARN_a311 A limit was reached. limit=server.max_connections_per_client client=192.0.2.1"], Limits(receiving));
        _time.Advance(TimeSpan.FromSeconds(61));
        await receiving.Connect(Client).ReplyAsync();
        Assert.Equal(2, Limits(receiving).Length);
        Assert.Equal(3, receiving.Services.Figures.RefusedAs(forGood: false, inData: false));
    }

    [Fact]
    public async Task Addresses_of_one_64_are_one_client()
    {
        await using Receiving receiving = await StartAsync(server => server with { MaxConnectionsPerClient = 1 });
        await GreetedAsync(receiving, "2001:db8::1");
        Assert.StartsWith("421", await receiving.Connect("2001:db8::ffff:1").ReplyAsync(), StringComparison.Ordinal);
        await GreetedAsync(receiving, "2001:db8:0:1::1");
    }

    [Fact]
    public async Task A_limit_is_logged_once_a_minute_for_all_addresses_of_one_64()
    {
        await using Receiving receiving = await StartAsync(server => server with { MaxConnectionRate = 1 });
        for (int i = 1; i <= 4; i++)
            await receiving.Connect($"2001:db8::{i}").ReplyAsync();
        Assert.Equal(["WARN_a311 A limit was reached. limit=server.max_connection_rate client=2001:db8::2"], Limits(receiving));
    }

    [Fact]
    public void What_a_client_did_in_the_present_minute_is_not_forgotten_when_it_has_left()
    {
        var record = new ClientRecord(_time);
        var limits = new ServerSettings();
        Assert.True(record.TryEnter(limits, out _));
        _time.Advance(TimeSpan.FromSeconds(70));
        Assert.True(record.TakeMessage(1));
        record.Leave();
        Assert.False(record.TryRetire());
        Assert.False(record.TakeMessage(1));
        _time.Advance(TimeSpan.FromSeconds(60));
        Assert.True(record.TryRetire());
    }

    [Fact]
    public async Task One_client_opens_no_more_sessions_in_a_minute_than_it_may()
    {
        await using Receiving receiving = await StartAsync(server => server with { MaxConnectionRate = 3 });
        for (int i = 0; i < 3; i++)
        {
            ReceivingSession session = await GreetedAsync(receiving, Client);
            session.End();
            await session.EndedAsync();
        }
        Assert.StartsWith("421 4.3.2", await receiving.Connect(Client).ReplyAsync(), StringComparison.Ordinal);
        _time.Advance(TimeSpan.FromMinutes(1));
        await GreetedAsync(receiving, Client);
        Assert.Equal(["WARN_a311 A limit was reached. limit=server.max_connection_rate client=192.0.2.1"], Limits(receiving));
    }

    [Fact]
    public async Task Clients_without_limits_are_not_counted()
    {
        await using Receiving receiving = await StartAsync(server => server with { MaxConnectionsPerClient = 1, MaxConnectionRate = 1 });
        for (int i = 0; i < 5; i++)
            await GreetedAsync(receiving, "127.0.0.1");
        Assert.Equal(0, receiving.Services.Clients.Count);
    }

    [Fact]
    public async Task One_client_begins_no_more_messages_in_a_minute_than_it_may()
    {
        await using Receiving receiving = await StartAsync(server => server with { MaxMessageRate = 2 });
        ReceivingSession session = await GreetedAsync(receiving, Client);
        await session.AskAsync("EHLO client.example");
        for (int i = 0; i < 2; i++)
        {
            Assert.StartsWith("250", await session.AskAsync("MAIL FROM:<a@example.org>"), StringComparison.Ordinal);
            await session.AskAsync("RSET");
        }
        Assert.Equal("452 4.7.1 Too many messages, try again later", await session.AskAsync("MAIL FROM:<a@example.org>"));
        _time.Advance(TimeSpan.FromMinutes(1));
        Assert.StartsWith("250", await session.AskAsync("MAIL FROM:<a@example.org>"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task No_more_sessions_at_all_than_there_may_be()
    {
        await using Receiving receiving = await StartAsync(server => server with { MaxConnections = 1 });
        Assert.True(receiving.Services.TryEnter());
        Assert.False(receiving.Services.TryEnter());
        receiving.Services.Leave();
        Assert.True(receiving.Services.TryEnter());
    }

    [Fact]
    public async Task A_command_that_comes_by_single_octets_has_one_timeout_in_all()
    {
        await using Receiving receiving = await StartAsync();
        ReceivingSession session = await GreetedAsync(receiving, "127.0.0.1");
        for (int i = 0; i < 4; i++)
        {
            await session.SendAsync("X");
            _time.Advance(TimeSpan.FromSeconds(70));
        }
        Assert.False(session.Run.IsCompleted);
        await session.SendAsync("X");
        _time.Advance(TimeSpan.FromSeconds(21));
        Assert.Equal("421 4.4.2 Timeout, closing the connection", await session.ReplyAsync());
        Assert.Equal(["WARN_a311 A limit was reached. limit=server.command_timeout client=127.0.0.1"], Limits(receiving));
    }

    [Theory]
    [InlineData("DATA")]
    [InlineData("BDAT 1000000")]
    public async Task Mail_data_that_trickles_is_cut_off(string command)
    {
        await using Receiving receiving = await StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.BeginAsync();
        await session.SendAsync(command + "\r\n");
        if (command is "DATA")
            await session.ReplyAsync();
        for (int i = 0; i < 5; i++)
        {
            await session.SendAsync("slow\r\n");
            _time.Advance(TimeSpan.FromSeconds(59));
        }
        Assert.False(session.Run.IsCompleted);
        await session.SendAsync("slow\r\n");
        _time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal("421 4.4.2 Timeout, closing the connection", await session.ReplyAsync());
        Assert.Equal(["WARN_a311 A limit was reached. limit=server.min_data_rate client=127.0.0.1"], Limits(receiving));
    }

    [Fact]
    public async Task Mail_data_at_the_least_rate_may_take_long()
    {
        await using Receiving receiving = await StartAsync();
        ReceivingSession session = receiving.Connect();
        await session.BeginAsync();
        await session.AskAsync("DATA");
        for (int i = 0; i < 20; i++)
        {
            await session.SendAsync(string.Concat(Enumerable.Repeat(new string('x', 998) + "\r\n", 30)));
            _time.Advance(TimeSpan.FromSeconds(58));
        }
        Assert.StartsWith("250", await session.AskAsync("."), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_has_to_authenticate_has_less_time_for_it()
    {
        var listener = new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 587);
        Settings settings = Receiving.DefaultSettings with { Listeners = [new ListenerSettings { Address = listener, RequireAuth = true }] };
        await using Receiving receiving = await Receiving.StartAsync(settings, _time);
        ReceivingSession session = receiving.Connect(listener: listener);
        await session.ReplyAsync();
        _time.Advance(TimeSpan.FromSeconds(61));
        Assert.StartsWith("421 4.4.2", await session.ReplyAsync(), StringComparison.Ordinal);
        Assert.Equal(["WARN_a311 A limit was reached. limit=server.unauthenticated_timeout client=127.0.0.1"], Limits(receiving));
    }

    [Theory]
    [InlineData("server.max_command_line", "NOOP {0}\r\n", 1)]
    [InlineData("server.max_idle_commands", "NOOP\r\n", 12)]
    [InlineData("server.max_errors", "X\r\n", 2)]
    public async Task The_log_names_the_limit_that_a_flood_of_commands_reached(string limit, string command, int times)
    {
        await using Receiving receiving = await StartAsync(server => server with { MaxErrors = 2, MaxIdleCommands = 10 });
        ReceivingSession session = await GreetedAsync(receiving, Client);
        command = command.Replace("{0}", new string('x', 3000), StringComparison.Ordinal);
        for (int i = 0; i < times; i++)
        {
            await session.SendAsync(command);
            _time.Advance(TimeSpan.FromSeconds(1));
            await session.ReplyAsync();
        }
        Assert.Equal([$"WARN_a311 A limit was reached. limit={limit} client={Client}"], Limits(receiving));
    }

    [Fact]
    public async Task Answers_are_slow_from_half_of_the_errors_on()
    {
        await using Receiving receiving = await StartAsync(server => server with { MaxErrors = 4, ErrorDelay = TimeSpan.FromSeconds(1) });
        ReceivingSession session = await GreetedAsync(receiving, "127.0.0.1");
        Assert.StartsWith("500", await session.AskAsync("X"), StringComparison.Ordinal);
        Assert.StartsWith("500", await session.AskAsync("X"), StringComparison.Ordinal);
        await session.SendAsync("X\r\n");
        _time.Advance(TimeSpan.FromMilliseconds(999));
        Assert.Equal(0, session.Unread);
        _time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.StartsWith("500", await session.ReplyAsync(), StringComparison.Ordinal);
        Assert.StartsWith("421 4.7.0", await session.AskAsync("X"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_that_guesses_passwords_may_not_go_on_in_another_session()
    {
        using var directory = new TestDirectory();
        string users = Path.Combine(directory.Path, "users");
        UserTable.Empty.With("alice", ScramCredential.Of("secret99"u8, ScramCredential.LeastIterations)).Save(users);
        await using Receiving receiving = await StartAsync(server => server with
        {
            UsersFile = users,
            AuthWithoutTls = true,
            MaxAuthFailuresPerClient = 2,
            AuthFailureDelay = TimeSpan.FromSeconds(3),
        });
        for (int i = 0; i < 2; i++)
        {
            ReceivingSession session = await GreetedAsync(receiving, Client);
            await session.AskAsync("EHLO client.example");
            await session.SendAsync("AUTH PLAIN AGFsaWNlAHdyb25n\r\n");
            while (receiving.Log.Count(entry => entry.What == LogEvents.AuthFailed) <= i)
                await Task.Delay(5);
            await Task.Delay(50);
            Assert.Equal(0, session.Unread);
            _time.Advance(TimeSpan.FromSeconds(3));
            Assert.StartsWith("535 5.7.8", await session.ReplyAsync(), StringComparison.Ordinal);
        }
        ReceivingSession next = await GreetedAsync(receiving, Client);
        await next.AskAsync("EHLO client.example");
        Assert.Equal("454 4.7.0 Too many failures, try again later", await next.AskAsync("AUTH PLAIN AGFsaWNlAHNlY3JldDk5"));
        _time.Advance(TimeSpan.FromMinutes(4));
        await next.AskAsync("NOOP");
        _time.Advance(TimeSpan.FromMinutes(4));
        await next.AskAsync("NOOP");
        _time.Advance(TimeSpan.FromMinutes(4));
        Assert.StartsWith("235", await next.AskAsync("AUTH PLAIN AGFsaWNlAHNlY3JldDk5"), StringComparison.Ordinal);
        Assert.All(receiving.Log, entry => Assert.DoesNotContain("secret99", entry.Line, StringComparison.Ordinal));
        Assert.Contains(receiving.Log, entry => entry.Line.Contains("WARN_a312 Authentication failed. client=192.0.2.1:40000 user=alice mechanism=PLAIN", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Auth_is_put_off_and_nobody_is_blamed_while_the_users_file_cannot_be_read()
    {
        using var directory = new TestDirectory();
        string users = Path.Combine(directory.Path, "users");
        await File.WriteAllTextAsync(users, "alice:secret99\n", TestContext.Current.CancellationToken);
        await using Receiving receiving = await StartAsync(server => server with { UsersFile = users, AuthWithoutTls = true, MaxAuthFailuresPerClient = 1 });
        ReceivingSession session = await GreetedAsync(receiving, Client);
        await session.AskAsync("EHLO client.example");
        Assert.Equal("454 4.7.0 Temporary authentication failure", await session.AskAsync("AUTH PLAIN AGFsaWNlAHNlY3JldDk5"));
        UserTable.Empty.With("alice", ScramCredential.Of("secret99"u8, ScramCredential.LeastIterations)).Save(users);
        Assert.StartsWith("235", await session.AskAsync("AUTH PLAIN AGFsaWNlAHNlY3JldDk5"), StringComparison.Ordinal);
        Assert.Single(receiving.Log, entry => entry.What == LogEvents.UsersBad);
        Assert.All(receiving.Log, entry => Assert.DoesNotContain("secret99", entry.Line, StringComparison.Ordinal));
    }

    private static string[] Limits(Receiving receiving) => [.. receiving.Log.Where(entry => entry.What == LogEvents.LimitReached).Select(entry => entry.Line)];

    private static async Task<ReceivingSession> GreetedAsync(Receiving receiving, string client)
    {
        ReceivingSession session = receiving.Connect(client);
        Assert.StartsWith("220", await session.ReplyAsync(), StringComparison.Ordinal);
        return session;
    }

    private Task<Receiving> StartAsync(Func<ServerSettings, ServerSettings>? change = null)
    {
        Settings settings = Receiving.DefaultSettings;
        ServerSettings server = settings.Server with { Allow = [System.Net.IPNetwork.Parse("0.0.0.0/0")] };
        return Receiving.StartAsync(settings with { Server = change?.Invoke(server) ?? server }, _time);
    }
}
