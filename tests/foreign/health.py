"""The health behaviours (S, C, B of the reference) as an operator sees them: real daemons, an aiosmtpd that is really stopped and
started, second-long intervals, and the log lines by their exact text."""
import os
import re
import shutil
import signal
import smtplib
import sys
import tempfile
import time

import peers
from processes import Failed, Processes, free_port, wait_for_port
from relay import executable

CONFIG = """host_name = "relay.test"
state_directory = "{folder}/state"
run_directory = "{folder}/run"
[server]
listen = ["127.0.0.1:{port}"]
recheck_interval = "1s"
check_timeout = "2s"
[client]
retry = ["1s"]
recheck_interval = "2s"
connect_timeout = "2s"
[[mail_server]]
domain = "aiosmtpd.test"
host = "127.0.0.1"
port = {peer}
[[mail_server]]
domain = "down.test"
host = "127.0.0.1"
port = {down}
"""


class Story:
    def __init__(self, folder):
        self.folder = folder
        self.processes = Processes(folder)
        self.passed = self.failed = 0
        self.peer = peers.Aiosmtpd(folder, self.processes, None)
        self.port, self.down = free_port(), free_port()
        self.config = os.path.join(folder, "mfrelay.toml")
        os.makedirs(os.path.join(folder, "state"))
        self.write(CONFIG.format(folder=folder, port=self.port, peer=self.peer.port, down=self.down))

    def write(self, text):
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text)

    def start(self, name, project):
        return self.processes.start(name, [executable(name, project), "--config", self.config])

    def start_server(self):
        self.server = self.start("mf-smtp-server", "src/Mfrelay.Server")
        wait_for_port(self.server, self.port)

    def start_client(self):
        self.client = self.start("mf-smtp-client", "src/Mfrelay.Client")
        self.wait_line(self.client, "INFO_c101")

    def start_peer(self):
        self.peer.process = self.peer.start(self.processes)
        wait_for_port(self.peer.process, self.peer.port)

    def check(self, what, ok, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL {what} {detail}")

    @staticmethod
    def lines(process):
        with open(process.log, encoding="utf-8") as f:
            return [re.sub(r"^\S+ ", "", line.rstrip("\n")) for line in f]

    def wait_line(self, process, text, seconds=10, count=1):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = [line for line in self.lines(process) if text in line]
            if len(found) >= count:
                return found[0]
            time.sleep(0.05)
        return None

    def expect_line(self, what, process, line, seconds=10, count=1):
        self.check(what, self.wait_line(process, line, seconds, count) is not None, f"no line: {line}")

    def submit(self, *recipients, sender="a@example.org"):
        """The replies to MAIL, each RCPT, and mail data when a recipient was taken."""
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="me.test") as s:
            s.ehlo()
            replies = [s.mail(sender)]
            replies += [s.rcpt(r) for r in recipients]
            if any(code == 250 for code, _ in replies[1:]):
                replies.append(s.data("Subject: health\r\n\r\nbody\r\n"))
            return [(code, text.decode()) for code, text in replies]

    def arrived(self, count, seconds=15):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and len(self.all) < count:
            self.all += list(self.peer.new_arrivals())
            time.sleep(0.05)
        return len(self.all)

    def run(self):
        self.all = []
        up, down = f"127.0.0.1:{self.peer.port}", f"127.0.0.1:{self.down}"
        self.start_server()
        self.start_client()
        self.expect_line("S1 S3: the check at start is logged", self.server, f"INFO_a202 メールサーバーの確認を開始します。 {up}(aiosmtpd.test)")
        self.expect_line("S4: and its success", self.server, f"INFO_a203 メールサーバーの確認が終了しました。 {up}(aiosmtpd.test)")
        self.expect_line("S5: one that is down", self.server,
                         f"WARN_a301 サーバーへの接続に失敗しました。該当のサーバーを使用するメールの送信は行えません。 {down}")
        mail, refused, taken, data = self.submit("x@down.test", "x@aiosmtpd.test")
        self.check("S7: 421 for the domain that is down", refused[0] == 421 and "Service not available" in refused[1], refused)
        self.check("S7: the session goes on for other domains", taken[0] == data[0] == 250, (taken, data))
        self.check("delivered", self.arrived(1) == 1, len(self.all))
        mail, *_ = self.submit("x@aiosmtpd.test", sender="a@down.test")
        self.check("S8: 421 for a sender whose mail server is down", mail[0] == 421, mail)

        self.processes.end(self.peer.process)
        ids = [self.submit("x@aiosmtpd.test")[-1] for _ in range(3)]
        self.check("C10 S12: accepted while only the client knows", all(code == 250 for code, _ in ids), ids)
        first = ids[0][1].split()[-1]
        self.expect_line("C2: on the check list", self.client,
                         f"INFO_b211 接続を行うことができなかったため、確認リストに登録します。確認リストに登録されたメールサーバーを使用したメールの送信は行われません。 aiosmtpd.test({up})")
        self.expect_line("C3: with the queue id", self.client,
                         f"INFO_b303 メール送信サーバーとの通信中にタイムアウトになりました。ID={first} Host=127.0.0.1 Port={self.peer.port}")
        time.sleep(3)
        attempts = [line for line in self.lines(self.client) if "INFO_b101" in line and "sent=0" in line]
        self.check("C4: nothing more is tried while it is listed", len(attempts) <= 3, attempts)

        self.processes.end(self.client)
        before = len(self.lines(self.client))
        self.start_client()
        self.submit("x@aiosmtpd.test")
        time.sleep(1.5)
        self.check("C11: still listed after a restart", not any("INFO_b101" in line for line in self.lines(self.client)), self.lines(self.client)[-3:])
        self.check("B1: the client was restarted alone", before > 0)
        self.start_peer()
        self.expect_line("C5 C6: off the check list", self.client,
                         f"INFO_b212 接続の確認を行うことができたため、確認リストから解除します。このメールサーバーを使用してメールの送信を行うことができます。 aiosmtpd.test({up})")
        self.check("C7: each is delivered at its retry", self.arrived(5) == 5, len(self.all))

        time.sleep(max(0, self.started_down + 18 - time.monotonic()))
        failures = [line for line in self.lines(self.server) if "WARN_a301" in line and down in line]
        self.check("S9 S10: the first failure and every 15th recheck are logged", len(failures) in (2, 3), failures)
        self.reload(up, down)
        self.recovery(down)
        self.check("nothing arrived twice", self.arrived(6, 2) == 5, len(self.all))

    started_down = 0.0

    def reload(self, up, down):
        good = open(self.config, encoding="utf-8").read()
        self.write(good.replace('recheck_interval = "1s"', 'recheck_interval = "soon"'))
        os.kill(self.server.pid, signal.SIGHUP)
        self.expect_line("reload: a bad config is refused with file and line", self.server, f"WARN_c306 設定に誤りがあるため再読み込みを行いません。これまでの設定を使用します。 {self.config}:6:")
        self.check("reload: the old one stays in force", self.submit("x@down.test")[1][0] == 421)
        self.write(good + f'[[mail_server]]\ndomain = "new.test"\nhost = "127.0.0.1"\nport = {self.peer.port}\n')
        os.kill(self.server.pid, signal.SIGHUP)
        self.expect_line("S1: an added mail server is checked at once", self.server, f"INFO_a203 メールサーバーの確認が終了しました。 {up}(new.test)")
        # At the start, and once more because the list has changed.
        self.expect_line("S1: and so are those that stay", self.server, f"INFO_a203 メールサーバーの確認が終了しました。 {up}(aiosmtpd.test)", count=2)

    def recovery(self, down):
        """S10: the mail server comes up; what is logged then, and what a client hears."""
        server = self.processes.start("late", ["/usr/bin/python3", "-B", os.path.join(os.path.dirname(os.path.abspath(__file__)), "aiosmtpd_peer.py"),
                                               str(self.down), self.folder])
        self.expect_line("S10: recovery is logged as S3", self.server, f"INFO_a202 メールサーバーの確認を開始します。 {down}(down.test)")
        self.expect_line("S10: and S4", self.server, f"INFO_a203 メールサーバーの確認が終了しました。 {down}(down.test)")
        self.check("S7: mail is taken again", self.submit("x@down.test")[1][0] == 250)
        self.processes.end(server)


def main():
    folder = tempfile.mkdtemp(prefix="mfrelay-health.")
    story = Story(folder)
    story.started_down = time.monotonic()
    try:
        story.run()
        for p in (story.server, story.client):
            status = story.processes.end(p, 15)
            story.check(f"{p.name} ends with 0", status == 0, status)
    except (Failed, OSError, smtplib.SMTPException) as e:
        story.check("the story ran to its end", False, repr(e))
    finally:
        story.processes.end_all()
        if story.failed and "--keep" in sys.argv:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{story.passed} passed, {story.failed} failed")
    return 1 if story.failed else 0


if __name__ == "__main__":
    sys.exit(main())
