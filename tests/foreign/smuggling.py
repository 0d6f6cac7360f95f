"""SMTP smuggling: every sequence that some server has taken for the end of mail data, through the relay by DATA and BDAT, with
bare_newline = "reject" and "accept", to every foreign server; counts the messages that arrive. No more than one may, and none from
the sender who is hidden inside. Ends with a table and `N passed, N failed`. Needs root and what install.sh fetches."""
import os
import re
import shutil
import socket
import sys
import tempfile
import time

import peers
from processes import Failed, Processes, free_port, tail, wait_for_port
from relay import executable

CRLF = b"\r\n"
# What stands between the first message and the one that is hidden behind it.
VARIANTS = [
    CRLF + b"." + CRLF, b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r.\n", b"\r\r\n.\r\n",
    b"\r\n.\r\r\n", b"\n\n.\n\n", b"\n\r.\n\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n\0.\0\r\n", b"\r\n\n.\n\r\n", b"\r\n.\r\0\n",
    b"\r\0\n.\r\n", b"\r\n..\r\n", b"\r\n. \r\n", b"\r\n .\r\n", b"\r\n.\t\r\n", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\n.\x0b\n", b"\x0c.\x0c",
    b"\n.\r\n\r", b"\n..\n", b"\r..\r",
]
REAL_END = VARIANTS[0]
METHODS = ("data", "bdat")
MODES = ("reject", "accept")
LIMIT = 60          # seconds for all of it to arrive
QUIET = 2.0         # seconds without an arrival, once all that must have come is there

CONFIG = """host_name = "relay.test"
state_directory = "{folder}/state"
run_directory = "{folder}/run"
language = "en"
[server]
listen = ["127.0.0.1:{port}"]
bare_newline = "{mode}"
[client]
retry = ["1s"]
"""
MAIL_SERVER = '[[mail_server]]\ndomain = "{name}.test"\nhost = "127.0.0.1"\nport = {port}\nconcurrency = 5\n'


class Exim:
    """Debian's exim4-daemon-light, unpacked; what it takes stays in its queue, where it is counted. It takes no BDAT here, so the
    relay must stuff dots."""
    name = "exim"
    CONFIG = """exim_path = {root}/usr/sbin/exim4
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/exim.pid
primary_hostname = exim.test
exim_user = mail
exim_group = mail
queue_only = true
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
host_lookup =
rfc1413_hosts =
chunking_advertise_hosts =
tls_advertise_hosts =
smtp_accept_max = 0
smtp_accept_max_per_connection = 0
acl_smtp_rcpt = all
begin acl
all:
  accept
"""

    def __init__(self, folder, processes, root):
        self.spool, self.port = f"{folder}/spool", free_port()
        os.makedirs(self.spool)
        for path in (folder, self.spool):
            shutil.chown(path, "mail", "mail")
        with open(f"{folder}/exim.conf", "w", encoding="utf-8") as f:
            f.write(self.CONFIG.format(root=root, folder=folder, port=self.port))
        self.process = processes.start(self.name, [f"{root}/usr/sbin/exim4", "-C", f"{folder}/exim.conf", "-bdf"])
        wait_for_port(self.process, self.port)

    def senders(self):
        found = []
        for where, _, files in os.walk(f"{self.spool}/input"):
            for file in files:
                if file.endswith("-H"):
                    found.append(re.search(rb"^<([^>\n]*)>$", peers.read(f"{where}/{file}"), re.MULTILINE)[1].decode())
        return found


class OpenSmtpd:
    """Debian's opensmtpd, unpacked, in a mount namespace of its own, since its folders and accounts are built in. Counted by its log."""
    name = "opensmtpd"
    CONFIG = """listen on 127.0.0.1 port {port} hostname opensmtpd.test
action "keep" relay host smtp://127.0.0.1:1
match from any for any action "keep"
"""
    SETUP = """set -e
for file in passwd group; do mount --bind {folder}/$file /etc/$file; done
mount -t tmpfs -o mode=755 tmpfs /var/spool; mount -t tmpfs -o mode=755 tmpfs /var/lib; mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /var/spool/smtpd /var/lib/opensmtpd/empty; chmod 711 /var/spool/smtpd
exec {root}/usr/sbin/smtpd -d -f {folder}/smtpd.conf
"""

    def __init__(self, folder, processes, root):
        self.port = free_port()
        os.makedirs(folder)
        accounts = {"passwd": "{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin", "group": "{0}:x:{1}:"}
        for file, form in accounts.items():
            lines = [x for x in peers.read(f"/etc/{file}").decode().splitlines() if not x.startswith("opensmtp")]
            lines += [form.format(name, number) for name, number in (("opensmtpd", 64900), ("opensmtpq", 64901))]
            self._write(f"{folder}/{file}", "\n".join(lines) + "\n")
        self._write(f"{folder}/smtpd.conf", self.CONFIG.format(port=self.port))
        self._write(f"{folder}/setup.sh", self.SETUP.format(folder=folder, root=root))
        self.process = processes.start(self.name, ["/usr/bin/unshare", "--mount", "/bin/sh", f"{folder}/setup.sh"])
        wait_for_port(self.process, self.port)

    @staticmethod
    def _write(path, text):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def senders(self):
        return re.findall(r"smtp envelope .* from=<([^>]*)>", peers.read(self.process.log).decode("utf-8", "replace"))


class Existing:
    """A server of peers.py."""

    def __init__(self, peer):
        self.name, self.port, self._peer, self._senders = peer.name, peer.port, peer, []

    def senders(self):
        self._senders += [a.sender for a in self._peer.new_arrivals()]
        return self._senders


class Client:
    """SMTP by hand: what is sent is what is written here."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._replies = self._socket.makefile("rb")
        self.reply()
        self.say(b"EHLO smuggler.test")

    def say(self, line):
        self._socket.sendall(line + CRLF)
        return self.reply()

    def reply(self):
        while True:
            line = self._replies.readline()
            if not line:
                raise Failed("the relay closed")
            if line[3:4] != b"-":
                return line.decode("latin-1").strip()

    def send(self, method, sender, recipient, data):
        for line, code in ((f"MAIL FROM:<{sender}>", "250"), (f"RCPT TO:<{recipient}>", "250")):
            reply = self.say(line.encode())
            if not reply.startswith(code):
                raise Failed(f"{line}: {reply}")
        if method == "bdat":
            self._socket.sendall(b"BDAT %d LAST\r\n%b" % (len(data), data))
            return self.reply()
        self.say(b"DATA")
        self._socket.sendall(data + CRLF + b"." + CRLF)
        return self.reply()

    def close(self):
        self._replies.close()
        self._socket.close()


def payload(variant, hidden, recipient, method):
    inner = (f"MAIL FROM:<{hidden}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").encode() + b"Subject: hidden\r\n\r\nsecond"
    first = b"From: <first@from.test>\r\nSubject: first\r\n\r\nfirst" + variant + inner
    return first + CRLF if method == "bdat" else first


class Matrix:
    def __init__(self, folder):
        self.folder, self.processes = folder, Processes(folder)
        self.cells = {}         # (mode, method, number, peer): reply
        self.problems = []

    def start(self):
        cache = os.environ.get("MFRELAY_FOREIGN_CACHE", "/var/cache/mfrelay-foreign")
        self.peers = [Existing(p(f"{self.folder}/{p.name}", self.processes, f"{cache}/postfix")) for p in (peers.Postfix, peers.Aiosmtpd)]
        self.peers += [p(f"{self.folder}/{p.name}", self.processes, f"{cache}/{p.name}") for p in (Exim, OpenSmtpd)]
        self.ports, self.daemons = {}, []
        for mode in MODES:
            folder = f"{self.folder}/{mode}"
            os.makedirs(f"{folder}/state")
            self.ports[mode] = free_port()
            with open(f"{folder}/mfrelay.toml", "w", encoding="utf-8") as f:
                f.write(CONFIG.format(folder=folder, port=self.ports[mode], mode=mode)
                        + "".join(MAIL_SERVER.format(name=p.name, port=p.port) for p in self.peers))
            for name, project in (("mf-smtp-server", "src/Mfrelay.Server"), ("mf-smtp-client", "src/Mfrelay.Client")):
                self.daemons.append(self.processes.start(f"{name}-{mode}", [executable(name, project), "--config", f"{folder}/mfrelay.toml"]))
            wait_for_port(self.daemons[-2], self.ports[mode])

    def send(self):
        for mode in MODES:
            for number, variant in enumerate(VARIANTS):
                for method in METHODS:
                    for peer in self.peers:
                        key = f"{mode}.{method}.{number}"
                        client = Client(self.ports[mode])
                        try:
                            # CRLF.CRLF by DATA is the real end: the second message is one that the client itself sends, and shows that
                            # messages are counted.
                            data = payload(variant, f"hidden.{key}@from.test", f"to@{peer.name}.test", method)
                            reply = client.send(method, f"first.{key}@from.test", f"to@{peer.name}.test", data)
                            if method == "data" and REAL_END in variant:
                                while not client.reply().startswith("250 2.0.0 Ok: queued"):
                                    pass
                            self.cells[mode, method, number, peer.name] = reply
                        finally:
                            client.close()

    def wait(self):
        """Until all that was accepted is there, and then some, for what must not come."""
        expected = sum(r.startswith("250") for r in self.cells.values())
        deadline, last, since = time.monotonic() + LIMIT, -1, time.monotonic()
        while time.monotonic() < deadline:
            count = sum(len(p.senders()) for p in self.peers)
            if count != last:
                last, since = count, time.monotonic()
            if count >= expected and time.monotonic() - since > QUIET:
                return
            dead = [d for d in self.daemons if d.poll() is not None]
            if dead:
                raise Failed(f"{dead[0].name} ended: {tail(dead[0].log)}")
            time.sleep(0.1)

    def check(self):
        passed = failed = 0
        arrived = {p.name: p.senders() for p in self.peers}
        width = max(len(repr(v)[1:]) for v in VARIANTS) + 2
        print("first+hidden messages that arrived, of 1 sent (2 where CRLF.CRLF is in it and it goes by DATA)")
        columns = [(mode, method, p.name) for mode in MODES for method in METHODS for p in self.peers]
        print(" " * width + "  ".join(f"{m}/{t}".ljust(9 * len(self.peers) - 2) for m in MODES for t in METHODS))
        print(" " * width + " ".join(p.name[:8].ljust(8) for _ in range(4) for p in self.peers))
        for number, variant in enumerate(VARIANTS):
            row = []
            for mode, method, peer in columns:
                key = f"{mode}.{method}.{number}@from.test"
                first, hidden = (arrived[peer].count(f"{who}.{key}") for who in ("first", "hidden"))
                reply = self.cells.get((mode, method, number, peer), "not sent")
                taken = reply.startswith("250")
                real_end = method == "data" and REAL_END in variant
                good = first == int(taken) and hidden == int(real_end) and (taken or reply.startswith(("550", "554")))
                passed, failed = passed + good, failed + (not good)
                row.append((f"{first}+{hidden}" + ("" if good else "!")).ljust(8) if taken else ("refused" if good else "BAD").ljust(8))
                if not good:
                    self.problems.append(f"{variant!r} by {method}, {mode}, to {peer}: {first}+{hidden}, the relay said {reply}")
            print(repr(variant)[1:].ljust(width) + " ".join(row).rstrip())
        strange = [s for senders in arrived.values() for s in senders if not re.match(r"(first|hidden)\.", s)]
        self.problems += [f"from <{s}>, whom nobody sent for" for s in strange]
        for problem in self.problems:
            print(f"FAIL {problem}")
        print(f"{passed} passed, {failed + len(strange)} failed")
        return 1 if failed or strange or not passed else 0


def main():
    folder = tempfile.mkdtemp(prefix="mfrelay-smuggling.")
    os.chmod(folder, 0o711)
    matrix = Matrix(folder)
    try:
        matrix.start()
        matrix.send()
        matrix.wait()
        return matrix.check()
    except (Failed, OSError) as e:
        print(f"FAIL {e}\n0 passed, 1 failed")
        return 1
    finally:
        matrix.processes.end_all()
        if "--keep" in sys.argv:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


sys.exit(main())
