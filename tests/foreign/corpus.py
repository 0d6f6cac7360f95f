"""The mail that is sent. Every text is fixed: two runs send the same octets."""
import base64
import random
from dataclasses import dataclass

CRLF = b"\r\n"


@dataclass(frozen=True)
class Mail:
    name: str
    data: bytes | None      # mail data as it travels, not dot-stuffed; None: the client makes its own
    note: str = ""
    null_sender: bool = False
    utf8: bool = False      # local parts need SMTPUTF8
    recipients: int = 1
    copies: int = 1         # how many times it is sent
    dkim: bool = False      # its signature must verify on arrival


def lines(*texts, charset="ascii"):
    return b"".join((t if isinstance(t, bytes) else t.encode(charset)) + CRLF for t in texts)


def header(subject, *more):
    return lines("From: Sender <sender@from.test>", "To: recipient@to.test", f"Subject: {subject}",
                 "Date: Mon, 05 Jan 2026 09:00:00 +0900", f"Message-ID: <{subject.replace(' ', '-')}@from.test>", *more, "")


def text(charset):
    return f'Content-Type: text/plain; charset="{charset}"'


def whitespace():
    """What careless relays tidy: spaces at line ends, odd folding, empty lines at the end, fields they own."""
    return lines("Return-Path: <old@from.test>",
                 "Received: from a.test by b.test; Mon, 05 Jan 2026 09:00:00 +0900",
                 "received:from c.test", "\tby d.test;  Mon, 05 Jan 2026 08:59:00 +0900  ",
                 "From:sender@from.test", "To :   recipient@to.test", "Bcc: hidden@to.test", "Content-Length: 3",
                 "Subject: folded", "   with spaces\t", "\t and tabs", "X-Empty:", "X-Empty: ", "",
                 " leading, trailing   ", "\t", "   ", "a\fb\x1b[1mc\x7f", "=3D =20", "From the start of a line", "", "", "")


def long_lines(length):
    """Lines of exactly `length` octets, one that is stuffed to length + 1, one that is not ASCII, one header field."""
    fill = b"0123456789abcdef" * (length // 16 + 1)
    return (header(f"lines of {length}", text("utf-8"), b"X-Long: " + fill[:length - 8])
            + lines(fill[:length], b"." + fill[:length - 1], "電".encode() * (length // 3) + fill[:length % 3], fill[:length]))


def attachment(size):
    octets = random.Random(1).randbytes(size)
    return (header("attachment", "MIME-Version: 1.0", 'Content-Type: application/octet-stream; name="a.bin"',
                   "Content-Transfer-Encoding: base64") + base64.encodebytes(octets).replace(b"\n", CRLF))


def unsigned():
    """The message that the test signs (simple/simple, so that any change breaks it)."""
    return (header("signed mail", "MIME-Version: 1.0", text("utf-8"), "Content-Transfer-Encoding: 8bit")
            + lines("署名のある本文。", "..", ".", "trailing spaces   ", "", "end", charset="utf-8"))


def corpus(signed):
    plain = header("plain") + lines("One line.", "", "Another one.")
    return [
        Mail("empty", b"", "no octet of mail data at all"),
        Mail("empty-body", header("empty body")),
        Mail("body-dot", header("body of a dot") + lines("."), "a body of only ."),
        Mail("only-dot", lines("."), "mail data of only ."),
        Mail("first-dots", lines("..", ".", "...", "text"), "the first line of the mail data is .."),
        Mail("body-dots", header("dots") + lines("..", ".", "...", ".text", "text.", ""), "the first line of the body is .."),
        Mail("no-headers", lines("No header field in this mail", "and no empty line.")),
        Mail("blank-first", lines("", "An empty header section, then text.")),
        Mail("latin-1", header("latin 1", text("iso-8859-1"), b"X-Raw: caf\xe9")
             + lines("Déjà vu, ça et là: äöüß ÿ", charset="latin-1")),
        Mail("iso-2022-jp", header("iso 2022 jp", text("iso-2022-jp"), "X-Raw: ".encode() + "件名".encode("iso-2022-jp"))
             + lines("こんにちは、世界。", "添付ファイルをご確認ください。", charset="iso-2022-jp")),
        Mail("utf-8", header("utf 8", text("utf-8"), "X-Raw: 件名".encode()) + lines("メールの本文 𠮷野家 €", charset="utf-8")),
        Mail("whitespace", whitespace(), "trailing spaces and empty lines, odd header fields"),
        Mail("dkim", signed, "the signature must verify on arrival", dkim=True),
        Mail("lines-998", long_lines(998)),
        Mail("lines-5000", long_lines(5000)),
        Mail("30-MB", attachment(22_800_000), "30 MB of base64"),
        Mail("null-sender", plain, null_sender=True),
        Mail("1000-rcpts", plain, "one transaction", recipients=1000),
        Mail("utf8-local", plain, "UTF-8 local parts (SMTPUTF8)", utf8=True),
        Mail("generated", None, "20 messages of the client's own making in 5 sessions", copies=20),
    ]
