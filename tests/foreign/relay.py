"""mf-smtp-server and mf-smtp-client as real processes between the foreign peers."""
import os
import signal

from processes import Failed, free_port, tail, wait_for_port

CONFIG = """host_name = "relay.test"
state_directory = "{folder}/state"
run_directory = "{folder}/run"

[server]
listen = ["127.0.0.1:{port}"]
allow = ["127.0.0.0/8"]
max_message_size = "60MB"
max_recipients = 1000

[client]
retry = ["1s"]
"""
MAIL_SERVER = """
[[mail_server]]
domain = "{name}.test"
host = "127.0.0.1"
port = {port}
"""


def executable(name, project):
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    folder = os.environ.get("MFRELAY_BIN") if project.startswith("src/") else None # a package has no test programs
    folder = folder or os.path.join(root, project, "bin", os.environ.get("CONFIG", "Release"), "net10.0")
    path = os.path.abspath(os.path.join(folder, name))
    if not os.access(path, os.X_OK):
        raise Failed(f"{path} is not there: build first (dotnet build -c Release), or name a folder in MFRELAY_BIN")
    return path


class Relay:
    name = "relay"

    def __init__(self, folder, processes, peers):
        self.port = free_port()
        self._processes = processes
        config = os.path.join(folder, "mfrelay.toml")
        for sub in ("state", "run"):
            os.makedirs(os.path.join(folder, sub))
        with open(config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(folder=folder, port=self.port) + "".join(MAIL_SERVER.format(name=p.name, port=p.port) for p in peers))
        self.server = processes.start("mf-smtp-server", [executable("mf-smtp-server", "src/Mfrelay.Server"), "--config", config])
        self.client = processes.start("mf-smtp-client", [executable("mf-smtp-client", "src/Mfrelay.Client"), "--config", config])
        wait_for_port(self.server, self.port)

    def dead(self):
        """Says which daemon has ended, or nothing."""
        for p in (self.server, self.client):
            if p.poll() is not None:
                return f"{p.name} ended with {p.returncode}: {tail(p.log)}"
        return None

    def log_of(self, text):
        """The last line that each daemon wrote about a text."""
        found = []
        for p in (self.server, self.client):
            with open(p.log, encoding="utf-8", errors="replace") as f:
                found += [f"{p.name}: {line.strip()}" for line in f if text in line][-1:]
        return "; ".join(found)

    def end(self):
        """Ends both; yields a text for each that did not end with 0 on SIGTERM."""
        for p in (self.server, self.client):
            status = self._processes.end(p, 15)
            if status != 0:
                how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit {status}"
                yield f"{p.name} ended with {how} after SIGTERM, not with 0: {tail(p.log)}"
