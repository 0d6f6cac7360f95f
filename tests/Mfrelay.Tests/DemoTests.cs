using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Channels;
using Mfrelay.Cli;
using Xunit;

namespace Mfrelay.Tests;

public sealed class DemoTests
{
    private const string Trace = "Received: from a.example ([127.0.0.1])\r\n\tby relay.example (mfrelay) with ESMTP id 001_kk087r000\r\n\tfor <b@example.com>; "
        + "Tue, 24 Nov 2026 08:00:38 +0000\r\n";

    [Theory]
    [InlineData("Subject: x\r\n\r\nHello.\r\n")]
    [InlineData(".\r\n")]
    [InlineData("..\r\n.\r\n...\r\n")]
    [InlineData("\r\n")]
    [InlineData("bare\rCR, bare\nLF, \r\r\n and 8 bit: é\r\n")]
    [InlineData("\n.\n\r.\r\n.x\r\n")]
    public async Task What_is_sent_arrives_with_its_dots(string mailData)
    {
        ArrivedMail mail = await PassAsync(mailData);
        Assert.Equal(Sha256(mailData), mail.Sha256);
        Assert.Equal(Encoding.UTF8.GetByteCount(mailData), mail.Size);
        Assert.Equal("a@example.org", mail.ReversePath);
        Assert.Equal(["b@example.com"], mail.ForwardPaths);
    }

    [Theory]
    [InlineData("Received: from elsewhere\r\n\tby another.example\r\nSubject: x\r\n\r\nHello.\r\n")]
    [InlineData("Subject: x\r\n\r\nHello.\r\n")]
    [InlineData("\r\n")]
    public async Task The_relays_own_Received_field_is_told_from_what_was_sent(string mailData)
    {
        ArrivedMail relayed = await PassAsync(Trace + mailData);
        Assert.Equal("001_kk087r000", relayed.QueueId);
        Assert.Equal(Sha256(mailData), relayed.Sha256);
        Assert.Equal(relayed.SizeBelowTrace + Trace.Length, relayed.Size);

        ArrivedMail direct = await PassAsync(mailData);
        Assert.Equal("", direct.QueueId);
        Assert.Equal(Sha256(mailData), direct.Sha256);
        Assert.Equal(direct.Size, direct.SizeBelowTrace);
    }

    [Fact]
    public void Executables_are_found_beside_the_command_or_in_the_build_tree()
    {
        DirectoryInfo root = Directory.CreateTempSubdirectory("mfrelay-tests-");
        try
        {
            string ours = Path.Combine(root.FullName, "src/Mfrelay.Cli/bin/Debug/net10.0/");
            string theirs = Path.Combine(root.FullName, "src/Mfrelay.Server/bin/Debug/net10.0/");
            Directory.CreateDirectory(ours);
            Directory.CreateDirectory(theirs);
            Assert.Contains(ours, Assert.Throws<FileNotFoundException>(() => DaemonFiles.Find("d", "Mfrelay.Server", ours)).Message, StringComparison.Ordinal);

            Write(theirs, "d", "d.dll", "d.runtimeconfig.json");
            Write(ours, "d", "d.runtimeconfig.json"); // a starter without its code
            Assert.Equal(theirs + "d", DaemonFiles.Find("d", "Mfrelay.Server", ours));

            Write(ours, "d.dll");
            Assert.Equal(ours + "d", DaemonFiles.Find("d", "Mfrelay.Server", ours));
        }
        finally
        {
            root.Delete(recursive: true);
        }
    }

    private static void Write(string directory, params string[] names)
    {
        foreach (string name in names)
            File.WriteAllText(Path.Combine(directory, name), "");
    }

    private static async Task<ArrivedMail> PassAsync(string mailData)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var arrived = Channel.CreateUnbounded<ArrivedMail>();
        using var server = new ReceivingServer(mail => arrived.Writer.TryWrite(mail));
        Task serving = server.RunAsync(ending.Token);
        (SmtpDialog dialog, _) = await SmtpDialog.ConnectAsync(new IPEndPoint(IPAddress.Loopback, server.Port), cancel);
        using (dialog)
        {
            Assert.StartsWith("250 ", await dialog.SendAsync("a.example", "a@example.org", "b@example.com", mailData, cancel), StringComparison.Ordinal);
            await dialog.QuitAsync(cancel);
        }
        await ending.CancelAsync();
        await serving;
        return await arrived.Reader.ReadAsync(cancel);
    }

    private static string Sha256(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
