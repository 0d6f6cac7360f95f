"""TLS, AUTH, client certificates, PROXY and XCLIENT with foreign clients: swaks, msmtp, smtplib, openssl s_client against
mf-smtp-server, behind which stands aiosmtpd. Ends with `N passed, N failed`. Needs what install.sh fetches."""
import os
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback

import peers
from processes import Failed, Processes, free_port, wait_for_port
from relay import executable

PASSWORD = "correct-horse=7"
CONFIG = """host_name = "relay.test"
state_directory = "{folder}/state"
run_directory = "{folder}/run"
language = "en"
[server]
listen = ["127.0.0.1:{inbound}"]
allow = []
users_file = "{folder}/users"
auth_failure_delay = "100ms"
client_certificates = ["{fingerprint}"]
proxy_from = ["127.0.0.1"]
xclient_from = ["127.0.0.1"]
[client]
retry = ["1s"]
[[listener]]
address = "127.0.0.1:{submission}"
profile = "submission"
[[listener]]
address = "127.0.0.1:{smtps}"
profile = "smtps"
[[listener]]
address = "127.0.0.1:{proxy}"
proxy_protocol = true
[[certificate]]
file = "{folder}/relay.test.pem"
key = "{folder}/relay.test.key"
[[certificate]]
file = "{folder}/second.test.pem"
key = "{folder}/second.test.key"
[[mail_server]]
domain = "aiosmtpd.test"
host = "127.0.0.1"
port = {peer}
"""


class Door:
    def __init__(self, folder):
        self.folder, self.processes = folder, Processes(folder)
        self.ports = {name: free_port() for name in ("inbound", "submission", "smtps", "proxy")}
        self.sent = []

    def start(self):
        for name in ("relay.test", "second.test", "client.test"):
            self.make_certificate(name)
        text = self.processes.run(["openssl", "x509", "-in", f"{self.folder}/client.test.pem", "-noout", "-fingerprint", "-sha256"])
        self.peer = peers.Aiosmtpd(f"{self.folder}/peer", self.processes, None)
        self.config = f"{self.folder}/mfrelay.toml"
        os.makedirs(f"{self.folder}/state")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(folder=self.folder, peer=self.peer.port, fingerprint=text.split("=")[1].strip(), **self.ports))
        with open(f"{self.folder}/password", "w", encoding="ascii") as f:
            f.write(PASSWORD + "\n")
        command = executable("mfrelay", "src/Mfrelay.Cli")
        self.processes.run([command, "user", "add", "alice", "--config", self.config], stdin=f"{self.folder}/password")
        self.processes.run([command, "config", "check", self.config])
        self.server = self.processes.start("mf-smtp-server", [executable("mf-smtp-server", "src/Mfrelay.Server"), "--config", self.config])
        self.client = self.processes.start("mf-smtp-client", [executable("mf-smtp-client", "src/Mfrelay.Client"), "--config", self.config])
        wait_for_port(self.server, self.ports["smtps"])

    def make_certificate(self, name):
        self.processes.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
                            f"subjectAltName=DNS:{name}", "-keyout", f"{self.folder}/{name}.key.new", "-out", f"{self.folder}/{name}.pem.new"])
        for kind in ("pem", "key"):
            os.rename(f"{self.folder}/{name}.{kind}.new", f"{self.folder}/{name}.{kind}")

    # Clients. Each sends one message from CASE@from.test, which must arrive; `fails` is what its output must match instead.

    def program(self, argv, fails, stdin=None):
        try:
            text = self.processes.run(argv, stdin=stdin, timeout=20)
        except Failed as e:
            if fails and re.search(fails, str(e)):
                return
            raise
        if fails:
            raise Failed(f"it was sent; {fails} was expected: {text[-300:]}")

    def swaks(self, case, port, *options, fails=None):
        self.program(["/usr/bin/swaks", "--config", "", "--server", "127.0.0.1", "--port", str(self.ports[port]), "--helo", "swaks.test", "--from",
                      f"{case}@from.test", "--to", "to@aiosmtpd.test", "--timeout", "15s", *options], fails)
        self.note(case, fails)

    def msmtp(self, case, port, *options, fails=None):
        mail = f"{self.folder}/mail"
        with open(mail, "w", encoding="ascii") as f:
            f.write("Subject: msmtp\n\ntext\n")
        self.program(["/usr/bin/msmtp", "--host=127.0.0.1", f"--port={self.ports[port]}", "--domain=msmtp.test", f"--from={case}@from.test",
                      "--tls=on", "--tls-certcheck=off", "--timeout=15", *options, "--", "to@aiosmtpd.test"], fails, stdin=mail)
        self.note(case, fails)

    def smtplib(self, case, smtp, user=None):
        context = ssl.create_default_context(cafile=f"{self.folder}/relay.test.pem")
        context.check_hostname = False
        if smtp is smtplib.SMTP_SSL:
            session = smtp("127.0.0.1", self.ports["smtps"], "smtplib.test", timeout=15, context=context)
        else:
            session = smtp("127.0.0.1", self.ports["submission"], "smtplib.test", timeout=15)
            session.starttls(context=context)
        with session:
            if user:
                session.login(user, PASSWORD)
            session.sendmail(f"{case}@from.test", "to@aiosmtpd.test", "Subject: smtplib\r\n\r\ntext\r\n")
        self.note(case, None)

    def note(self, case, fails):
        if not fails:
            self.sent.append(f"{case}@from.test")

    def s_client(self, *options):
        """What openssl s_client says; it is given a QUIT."""
        process = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.ports['inbound']}", "-starttls", "smtp", *options],
                                 input=b"QUIT\r\n", capture_output=True, timeout=20, check=False)
        return process.returncode, (process.stdout + process.stderr).decode("utf-8", "replace")

    def served(self, name):
        """The fingerprint of the certificate that is shown for a name."""
        text = self.s_client("-servername", name)[1]
        pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
        if not pem:
            raise Failed(f"no certificate: {text[-300:]}")
        return pem[0]

    def on_disk(self, name):
        return peers.read(f"{self.folder}/{name}.pem").decode().strip()

    # Cases

    def auth(self, mechanism, tls):
        port, options = ("smtps", ["--tls-on-connect"]) if tls == "smtps" else ("submission", ["--tls"])
        self.swaks(f"swaks-{mechanism}-{tls}", port, *options, "--auth", mechanism, "--auth-user", "alice", "--auth-password", PASSWORD)

    def case_swaks_plain_starttls(self):
        self.auth("PLAIN", "starttls")

    def case_swaks_plain_smtps(self):
        self.auth("PLAIN", "smtps")

    def case_swaks_login_starttls(self):
        self.auth("LOGIN", "starttls")

    def case_swaks_wrong_password(self):
        self.swaks("never", "submission", "--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "wrong", fails="535 5.7.8")

    def case_swaks_without_auth(self):
        self.swaks("never", "submission", "--tls", fails="530 5.7.0 Authentication required")

    def case_swaks_without_tls(self):
        self.swaks("never", "submission", fails="530 5.7.0 Must issue a STARTTLS command first")

    def case_swaks_no_auth_in_plaintext(self):
        self.swaks("never", "submission", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", PASSWORD, fails="exit 28")

    def case_swaks_stranger(self):
        self.swaks("never", "inbound", fails="550 5.7.1")

    def case_swaks_client_certificate(self):
        self.swaks("swaks-certificate", "inbound", "--tls", "--tls-cert", f"{self.folder}/client.test.pem", "--tls-key", f"{self.folder}/client.test.key")

    def case_swaks_strange_certificate(self):
        self.swaks("never", "inbound", "--tls", "--tls-cert", f"{self.folder}/second.test.pem", "--tls-key", f"{self.folder}/second.test.key", fails="550 5.7.1")

    def case_swaks_proxy_v1(self):
        self.proxy("1", "TCP4")

    def case_swaks_proxy_v2(self):
        self.proxy("2", "AF_INET", "--proxy-protocol", "STREAM")

    def proxy(self, version, family, *more):
        self.swaks("never", "proxy", "--proxy-version", version, "--proxy-family", family, "--proxy-source", "192.0.2.77", "--proxy-source-port", "4711",
                   "--proxy-dest", "127.0.0.1", "--proxy-dest-port", "25", *more, fails="550 5.7.1")
        self.expect_log("client=192.0.2.77:4711 ")

    def case_swaks_xclient(self):
        self.swaks("never", "inbound", "--xclient-addr", "192.0.2.78", fails="550 5.7.1")
        self.expect_log("client=192.0.2.78:0 ")

    def case_msmtp_scram_starttls(self):
        self.msmtp("msmtp-scram", "submission", "--auth=scram-sha-256", "--user=alice", f"--passwordeval=echo {PASSWORD}")

    def case_msmtp_scram_smtps(self):
        self.msmtp("msmtp-scram-smtps", "smtps", "--tls-starttls=off", "--auth=scram-sha-256", "--user=alice", f"--passwordeval=echo {PASSWORD}")

    def case_msmtp_best_mechanism(self):
        self.msmtp("msmtp-on", "submission", "--auth=on", "--user=alice", f"--passwordeval=echo {PASSWORD}")

    def case_msmtp_scram_wrong_password(self):
        self.msmtp("never", "submission", "--auth=scram-sha-256", "--user=alice", "--passwordeval=echo wrong-one", fails="535 5.7.8|authentication failed")

    def case_msmtp_client_certificate(self):
        self.msmtp("msmtp-certificate", "smtps", "--tls-starttls=off", f"--tls-cert-file={self.folder}/client.test.pem", f"--tls-key-file={self.folder}/client.test.key")

    def case_smtplib_starttls(self):
        self.smtplib("smtplib-starttls", smtplib.SMTP, "alice")

    def case_smtplib_smtps(self):
        self.smtplib("smtplib-smtps", smtplib.SMTP_SSL, "alice")

    def case_openssl_tls_1_2_and_1_3(self):
        for option, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            status, text = self.s_client(option)
            if status != 0 or name not in text:
                raise Failed(f"{option}: exit {status}: {text[-300:]}")

    def case_openssl_no_tls_1_1(self):
        status, text = self.s_client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        if status == 0 or "Cipher is (NONE)" not in text:
            raise Failed(f"exit {status}: {text[-300:]}")

    def case_openssl_sni(self):
        for asked, shown in (("relay.test", "relay.test"), ("second.test", "second.test"), ("third.test", "relay.test")):
            if self.served(asked) != self.on_disk(shown):
                raise Failed(f"asked for {asked}, not shown {shown}")

    def case_openssl_renewed_certificate(self):
        before = self.served("second.test")
        self.make_certificate("second.test")
        deadline = time.monotonic() + 5
        while self.served("second.test") == before:
            if time.monotonic() > deadline:
                raise Failed("the old certificate is still shown after 5 s")
        if self.served("second.test") != self.on_disk("second.test"):
            raise Failed("neither the old certificate nor the new one")

    def case_plaintext_behind_starttls(self):
        """CVE-2011-0411: what is injected behind STARTTLS must not be answered inside TLS."""
        with socket.create_connection(("127.0.0.1", self.ports["inbound"]), 15) as plain:
            plain.recv(1000)
            plain.sendall(b"EHLO a.test\r\n")
            plain.recv(1000)
            plain.sendall(b"STARTTLS\r\nNOOP\r\nVRFY injected\r\n")
            if plain.recv(1000) != b"220 2.0.0 Ready to start TLS\r\n":
                raise Failed("more than one reply to STARTTLS")
            context = ssl._create_unverified_context()
            with context.wrap_socket(plain) as tls:
                tls.sendall(b"HELP\r\n")
                reply = tls.recv(1000)
        if not reply.startswith(b"214"):
            raise Failed(f"an injected command was answered: {reply!r}")

    def case_zz_everything_arrived_and_no_password_is_in_a_log(self):
        deadline, arrived = time.monotonic() + 20, []
        while len(arrived) < len(self.sent) and time.monotonic() < deadline:
            arrived += [a.sender for a in self.peer.new_arrivals()]
            time.sleep(0.1)
        if sorted(arrived) != sorted(self.sent):
            raise Failed(f"sent {sorted(self.sent)}, arrived {sorted(arrived)}")
        self.expect_log("WARN_a312 Authentication failed. client=127.0.0.1:")
        log = self.log()
        if PASSWORD in log or "wrong-one" in log or "AGFsaWNl" in log:
            raise Failed("a password is in the log")

    def log(self):
        return peers.read(self.server.log).decode("utf-8", "replace")

    def expect_log(self, text):
        deadline = time.monotonic() + 3
        while text not in self.log():
            if time.monotonic() > deadline:
                raise Failed(f"not in the log: {text}")
            time.sleep(0.05)

    def run(self):
        passed = failed = 0
        for name in [n for n in dir(self) if n.startswith("case_")]:
            try:
                getattr(self, name)()
                passed += 1
                print(f"ok   {name[5:]}")
            except (Failed, OSError, smtplib.SMTPException, subprocess.TimeoutExpired, ssl.SSLError) as e:
                failed += 1
                print(f"FAIL {name[5:]}: {e}")
        print(f"{passed} passed, {failed} failed")
        return 1 if failed or not passed else 0


def main():
    folder = tempfile.mkdtemp(prefix="mfrelay-door.")
    os.chmod(folder, 0o711)
    door = Door(folder)
    try:
        door.start()
        return door.run()
    except Failed as e:
        print(f"FAIL {e}\n0 passed, 1 failed")
        return 1
    except Exception:
        traceback.print_exc()
        print("0 passed, 1 failed")
        return 1
    finally:
        door.processes.end_all()
        shutil.rmtree(folder, ignore_errors=True)


sys.exit(main())
