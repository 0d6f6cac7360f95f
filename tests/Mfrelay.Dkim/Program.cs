// Signs and verifies mail for tests/foreign, with a key that the test makes:
//   mfrelay-dkim make-key KEY          writes a new RSA key
//   mfrelay-dkim sign KEY IN OUT       signs simple/simple (RFC 6376 3.4): any change of a signed octet breaks it
//   mfrelay-dkim verify KEY FILE       exit 0 when the signature verifies, 1 when not or when there is none
using System.Security.Cryptography;
using Mfrelay.Dkim;
using MimeKit;
using MimeKit.Cryptography;

switch (args)
{
    case ["make-key", var keyFile]:
        using (var key = RSA.Create(2048))
            File.WriteAllText(keyFile, key.ExportRSAPrivateKeyPem());
        return 0;

    case ["sign", var keyFile, var input, var output]:
        var unsigned = MimeMessage.Load(input);
        new DkimSigner(keyFile, "from.test", "test")
        {
            HeaderCanonicalizationAlgorithm = DkimCanonicalizationAlgorithm.Simple,
            BodyCanonicalizationAlgorithm = DkimCanonicalizationAlgorithm.Simple,
            SignatureAlgorithm = DkimSignatureAlgorithm.RsaSha256,
        }.Sign(unsigned, [.. unsigned.Headers.Select(header => header.Field)]);
        unsigned.WriteTo(new FormatOptions { NewLineFormat = NewLineFormat.Dos }, output);
        return 0;

    case ["verify", var keyFile, var file]:
        var message = MimeMessage.Load(file);
        var signature = message.Headers.FirstOrDefault(header => header.Id == HeaderId.DkimSignature);
        if (signature is null)
        {
            Console.WriteLine($"{Path.GetFileName(file)} has no DKIM signature");
            return 1;
        }
        if (new DkimVerifier(new KeyFromFile(keyFile)).Verify(message, signature))
            return 0;
        Console.WriteLine($"the DKIM signature of {Path.GetFileName(file)} does not verify");
        return 1;

    default:
        Console.Error.WriteLine("usage: mfrelay-dkim make-key KEY | sign KEY IN OUT | verify KEY FILE");
        return 64;
}
