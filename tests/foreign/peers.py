"""The foreign servers. Each has: name (also its domain, NAME.test), CANNOT (mail it cannot take, and why), changes (what
it makes of mail data by itself), port, new_arrivals."""
import json
import os
import re
import shutil
from dataclasses import dataclass

from corpus import CRLF
from processes import free_port, wait_for_port

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass
class Arrival:
    sender: str
    recipients: list
    data: bytes     # as the server got it, without what the server itself added


def strip_field(data, name):
    """Splits off the first header field, which must be `name`. Returns (field, rest); field is None when it is not there."""
    match = re.match(rb"%b:[^\r]*\r\n(?:[ \t][^\r]*\r\n)*" % name, data)
    return (match[0], data[match.end():]) if match else (None, data)


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Peer:
    CANNOT = {}

    def __init__(self, folder, processes, postfix):
        self.folder = folder
        self.dump = os.path.join(folder, "mail")
        self.postfix = postfix
        self.port = free_port()
        self._seen = set()
        os.makedirs(self.dump)
        shutil.chown(self.dump, "nobody")
        self.process = self.start(processes)
        wait_for_port(self.process, self.port)

    def changes(self, data):
        return data

    def new_arrivals(self):
        """The mail that became complete since the last call."""
        for path in self.complete():
            if path not in self._seen:
                self._seen.add(path)
                yield self.read(path)

    def complete(self):
        """A data file is complete when its envelope file is there."""
        return [e.path for e in os.scandir(self.dump) if e.name.endswith(".envelope")]


class Aiosmtpd(Peer):
    name = "aiosmtpd"

    def start(self, processes):
        return processes.start(self.name, ["/usr/bin/python3", "-B", f"{HERE}/aiosmtpd_peer.py", str(self.port), self.dump])

    def read(self, path):
        envelope = json.loads(read(path))
        sender = "" if envelope["sender"] == "<>" else envelope["sender"]     # aiosmtpd's way to write the null reverse-path
        return Arrival(sender, envelope["recipients"], read(path.replace(".envelope", ".data")))


class Sink(Peer):
    """Postfix's smtp-sink. Its dump (smtp-sink(1), -d) begins with X- lines for the envelope and its own Received field, has
    LF for CRLF (it drops every CR, so a bare CR or LF would not be noticed: this corpus has none) and ends in one more LF."""
    name = "sink"
    CANNOT = {"utf8-local": "smtp-sink does not announce SMTPUTF8"}

    def start(self, processes):
        return processes.start(
            self.name, [f"{self.postfix}/usr/sbin/smtp-sink", "-u", "nobody", "-h", "sink.test", "-d", f"{self.dump}/m.",
                        f"127.0.0.1:{self.port}", "128"], env={"LD_LIBRARY_PATH": f"{self.postfix}/usr/lib/postfix"})

    def complete(self):
        """smtp-sink writes while the mail arrives: a file is complete when smtp-sink no longer has it open."""
        names = [e.path for e in os.scandir(self.dump)]
        descriptors = f"/proc/{self.process.pid}/fd"
        still_open = set()
        for d in os.listdir(descriptors) if os.path.isdir(descriptors) else []:
            try:
                still_open.add(os.readlink(f"{descriptors}/{d}"))
            except FileNotFoundError:
                pass
        return [n for n in names if n not in still_open]

    def read(self, path):
        data = read(path)
        sender = re.search(rb"^X-Mail-Args: <([^>]*)>", data, re.MULTILINE)[1].decode()
        begin = re.search(rb"^Received: .*\n\tby sink\.test \(smtp-sink\).*\n\t.*\n", data, re.MULTILINE)
        recipients = re.findall(rb"^X-Rcpt-Args: <([^>]*)>", data[:begin.start()], re.MULTILINE)
        return Arrival(sender, [r.decode() for r in recipients], data[begin.end():-1].replace(b"\n", CRLF))


class Postfix(Peer):
    """A whole Postfix with private configuration, queue and port. It delivers through pipe(8) with no flags and eol=\\r\\n:
    of its ways out this one adds no field, folds no line and does not convert to 7 bit.

    main.cf switches off what it would change: message_drop_headers (Bcc, Return-Path, Content-Length),
    local_header_rewrite_clients (addresses, missing From, Date, Message-ID), remote_header_rewrite_domain. What remains:
    it prepends its Received field, puts an empty line before mail data that does not begin with a header field, and takes
    out the space between a field name and its colon."""
    name = "postfix"

    MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {root}/usr/lib/postfix/sbin
command_directory = {root}/usr/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {folder}/etc
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH={root}/usr/lib/postfix
export_environment = TZ MAIL_CONFIG LANG LD_LIBRARY_PATH
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
# Accounts that every Debian has, so that none need be made; Postfix wants an owner and a group that are not nobody's.
mail_owner = uucp
setgid_group = news
myhostname = postfix.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_limit = 2000
smtpd_tls_security_level = none
smtputf8_enable = yes
message_size_limit = 0
mailbox_size_limit = 0
in_flow_delay = 0
fast_flush_domains =
default_transport = dump
relay_transport = dump
dump_destination_recipient_limit = 2000
dump_initial_destination_concurrency = 4
dump_destination_concurrency_limit = 4
message_drop_headers =
local_header_rewrite_clients =
remote_header_rewrite_domain =
append_dot_mydomain = no
append_at_myorigin = no
"""
    MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
error    unix - - n - - error
retry    unix - - n - - error
proxymap unix - - n - - proxymap
anvil    unix - - n - 1 anvil
postlog  unix-dgram n - n - 1 postlogd
dump     unix - n n - 4 pipe
  user=nobody:nogroup eol=\\r\\n null_sender= argv={here}/pipe_to_file.sh {dump} ${{sender}} ${{recipient}}
"""

    def start(self, processes):
        """master(8) in the foreground, without the postfix(1) scripts, which want to own a whole system."""
        values = dict(folder=self.folder, root=self.postfix, port=self.port, dump=self.dump, here=HERE)
        os.makedirs(f"{self.folder}/etc")
        for name, text in (("main.cf", self.MAIN), ("master.cf", self.MASTER), ("dynamicmaps.cf", "")):
            with open(f"{self.folder}/etc/{name}", "w", encoding="utf-8") as f:
                f.write(text.format(**values))
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
            os.makedirs(f"{self.folder}/queue/{name}", 0o700)
            shutil.chown(f"{self.folder}/queue/{name}", "uucp")
        for name, mode, group in (("maildrop", 0o730, "news"), ("public", 0o710, "news"), ("pid", 0o755, "root")):
            os.makedirs(f"{self.folder}/queue/{name}")
            shutil.chown(f"{self.folder}/queue/{name}", "root" if name == "pid" else "uucp", group)
            os.chmod(f"{self.folder}/queue/{name}", mode)
        os.makedirs(f"{self.folder}/data", 0o700)
        shutil.chown(f"{self.folder}/data", "uucp")
        environment = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": f"{self.postfix}/usr/lib/postfix"}
        return processes.start(self.name, [f"{self.postfix}/usr/lib/postfix/sbin/master", "-d", "-c", f"{self.folder}/etc"],
                               env=environment)

    def changes(self, data):
        field = rb"([!-9;-~]+)[ \t]*:"
        if not data or data.startswith(CRLF):
            return data
        if not re.match(field, data):
            return CRLF + data
        head, separator, body = data.partition(CRLF + CRLF)
        return re.sub(rb"^" + field, rb"\1:", head, flags=re.MULTILINE) + separator + body

    def read(self, path):
        sender, *recipients = read(path).decode().splitlines()
        field, data = strip_field(read(path.replace(".envelope", ".data")), b"Received")
        if not field or b"by postfix.test (Postfix)" not in field:
            data = b"(no Received field of Postfix here) " + data
        return Arrival(sender, recipients, data)


ALL = [Sink, Aiosmtpd, Postfix]
