"""The foreign clients. Each has: name, CANNOT (mail it cannot send, and why), wire (the mail data that it puts on the
wire for a mail, which is not always the mail), send (one transaction to a port; raises Failed)."""
import os
import re
import smtplib

from corpus import CRLF
from processes import Failed

TIMEOUT = 45    # seconds for one transaction
NO_UTF8 = "the client does not speak SMTPUTF8"
OWN_ONLY = "only smtp-source makes mail of its own"


def stuffed(data):
    return re.sub(rb"^\.", b"..", data, flags=re.MULTILINE)


class Client:
    CANNOT = {}

    def __init__(self, folder, processes, postfix):
        self.folder = folder        # corpus files for this client
        self.processes = processes
        self.postfix = postfix
        os.mkdir(folder)

    def wire(self, mail):
        return mail.data

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            with open(path, "wb") as f:
                f.write(data)
        return path

    def run(self, argv, **more):
        self.processes.run(argv, timeout=TIMEOUT, cwd=self.folder, **more)


class Swaks(Client):
    name = "swaks"
    CANNOT = {"utf8-local": NO_UTF8, "generated": OWN_ONLY, "empty": "it takes a --data of only the final dot for a file name"}

    @staticmethod
    def _fixup_keeps(data):
        """swaks's own stuffing and end of data leave the mail alone only if it has header fields, a body, and does not end
        in a line of one dot; otherwise it gets the data as it must be on the wire (--no-data-fixup)."""
        head, _, body = data.partition(CRLF + CRLF)
        return body and head[:1].isalpha() and not data.endswith(CRLF + b"." + CRLF)

    def send(self, mail, port, sender, recipients):
        if self._fixup_keeps(mail.data):
            path, fixup = self.file(mail.name, mail.data[:-2]), []      # it adds CRLF and the dot
        else:
            path, fixup = self.file(mail.name, stuffed(mail.data) + b"."), ["--no-data-fixup"]
        self.run(["/usr/bin/swaks", "--config", "", "--server", "127.0.0.1", "--port", str(port), "--helo", "swaks.test",
                  "--from", sender or "<>", "--to", ",".join(recipients), "--data", "@" + path, *fixup,
                  "--pipeline", "--timeout", f"{TIMEOUT}s", "--hide-all"])


class Smtplib(Client):
    name = "smtplib"
    CANNOT = {"generated": OWN_ONLY}

    def send(self, mail, port, sender, recipients):
        options = ["SMTPUTF8", "BODY=8BITMIME"] if mail.utf8 else ["BODY=8BITMIME"]
        try:
            with smtplib.SMTP("127.0.0.1", port, "smtplib.test", TIMEOUT) as smtp:
                if mail.data:
                    refused = smtp.sendmail(sender, recipients, mail.data, options)
                    if refused:
                        raise Failed(f"{len(refused)} recipients refused, the first: {next(iter(refused.items()))}")
                else:
                    self._send_nothing(smtp, sender, recipients)
        except (OSError, smtplib.SMTPException) as e:
            raise Failed(f"smtplib: {e!r}") from None

    @staticmethod
    def _send_nothing(smtp, sender, recipients):
        """sendmail() would send an empty line where there is none."""
        smtp.ehlo()
        for reply in (smtp.mail(sender), *map(smtp.rcpt, recipients), smtp.docmd("DATA"), smtp.docmd(".")):
            if reply[0] not in (250, 354):
                raise smtplib.SMTPResponseException(*reply)


class Msmtp(Client):
    name = "msmtp"
    CANNOT = {"utf8-local": NO_UTF8, "generated": OWN_ONLY}

    def send(self, mail, port, sender, recipients):
        # --host makes it read no configuration file. What it would add or remove in the header is switched off.
        self.run(["/usr/bin/msmtp", "--host=127.0.0.1", f"--port={port}", "--domain=msmtp.test", f"--from={sender}",
                  f"--timeout={TIMEOUT}", "--set-from-header=off", "--set-date-header=off", "--set-msgid-header=off",
                  "--remove-bcc-headers=off", "--undisclosed-recipients=off", "--", *recipients],
                 stdin=self.file(mail.name, mail.data.replace(CRLF, b"\n")))


class SmtpSource(Client):
    """Postfix's smtp-source. It says HELO, so that there are no extensions at all."""
    name = "smtp-source"
    CANNOT = {"utf8-local": NO_UTF8, "empty": "with an empty file it sends a text of its own"}

    SUBJECT = "from smtp-source"
    LENGTH = 4096

    def wire(self, mail):
        if mail.data is not None:
            return mail.data + CRLF         # its end of data is CRLF.CRLF after a file that already ends in CRLF
        lines = [f"{i % 10}".encode().ljust(78, b"X") for i in range(1, self.LENGTH // 80 + 1)]
        return CRLF.join([*lines, b"X" * (self.LENGTH % 80), b""])

    def send(self, mail, port, sender, recipients):
        argv = [f"{self.postfix}/usr/sbin/smtp-source", "-M", "source.test", "-f", sender, "-t", recipients[0]]
        if mail.data is None:
            argv += ["-m", str(mail.copies), "-s", "5", "-l", str(self.LENGTH), "-S", self.SUBJECT]
        else:
            argv += ["-r", str(len(recipients)), "-F", self.file(mail.name, mail.data.replace(CRLF, b"\n"))]
        self.run([*argv, f"127.0.0.1:{port}"], env={"LD_LIBRARY_PATH": f"{self.postfix}/usr/lib/postfix"})


def generated_header(sender, recipient):
    """The header section that smtp-source makes, as a pattern."""
    return re.compile(rb"From: <%b>\r\nTo: <%b>\r\nDate: [^\r]+\r\nMessage-Id: (<[0-9a-f.]+@source\.test>)\r\nSubject: %b\r\n\r\n"
                      % (re.escape(sender.encode()), re.escape(recipient.encode()), SmtpSource.SUBJECT.encode()))


ALL = [Swaks, Smtplib, Msmtp, SmtpSource]
