"""Delivery by the real daemons through a foreign server that wants STARTTLS and a login: aiosmtpd with Python's ssl."""
import os
import re
import subprocess
import sys
import tempfile
import time

from processes import Failed, Processes, free_port, tail, wait_for_port
from relay import executable

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = """host_name = "relay.test"
state_directory = "{folder}/state"
run_directory = "{folder}/run"
language = "en"
[server]
listen = ["127.0.0.1:{port}"]
[client]
retry = ["1s"]
recheck_interval = "1s"
[[mail_server]]
domain = "aiosmtpd.test"
host = "127.0.0.1"
port = {peer}
tls = "{tls}"
tls_ca_file = "{ca}"
auth = "{auth}"
auth_user = "user"
auth_secret_file = "{secret}"
"""
SECRET = "p4ssw0rd-of-the-test"


def certificate(folder):
    path = os.path.join(folder, "peer.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=aiosmtpd.test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path + ".key", "-out", path],
                   check=True, capture_output=True)
    return path


def case(auth, implicit):
    """Sends a message and returns what is wrong, or None."""
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(folder)
        try:
            return deliver(folder, processes, auth, implicit)
        except Failed as failure:
            return str(failure)
        finally:
            processes.end_all()


def deliver(folder, processes, auth, implicit):
    pem, secret, mail = certificate(folder), os.path.join(folder, "secret"), os.path.join(folder, "mail")
    with open(secret, "w", encoding="utf-8") as file:
        file.write(SECRET + "\n")
    for name in ("mail", "state", "run"):
        os.makedirs(os.path.join(folder, name))
    port, peer_port = free_port(), free_port()
    peer = processes.start("aiosmtpd", ["/usr/bin/python3", "-B", f"{HERE}/aiosmtpd_tls_peer.py", str(peer_port), mail, pem,
                                        "implicit" if implicit else "starttls", SECRET])
    wait_for_port(peer, peer_port)
    config = os.path.join(folder, "mfrelay.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(CONFIG.format(folder=folder, port=port, peer=peer_port, ca=pem, auth=auth, secret=secret,
                                 tls="implicit" if implicit else "required"))
    server = processes.start("mf-smtp-server", [executable("mf-smtp-server", "src/Mfrelay.Server"), "--config", config])
    client = processes.start("mf-smtp-client", [executable("mf-smtp-client", "src/Mfrelay.Client"), "--config", config])
    wait_for_port(server, port)
    processes.run(["swaks", "--server", f"127.0.0.1:{port}", "--from", "a@example.org", "--to", "x@aiosmtpd.test"])
    deadline = time.monotonic() + 15
    while not (arrived := [name for name in os.listdir(mail) if not name.endswith(".new")]):  # the peer renames what is whole
        if time.monotonic() > deadline:
            return f"nothing arrived: {tail(client.log)}"
        time.sleep(0.05)
    with open(os.path.join(mail, arrived[0]), encoding="utf-8") as file:
        said = file.read()
    if not re.fullmatch(r"TLSv1\.3 user", said):
        return f"session: {said}"
    listed = processes.run([executable("mfrelay", "src/Mfrelay.Cli"), "health", "check", "--json", "--config", config])
    if '"tls": "TLSv1.3"' not in listed:
        return f"health check: {listed}"
    for process in (server, client):
        with open(process.log, encoding="utf-8") as file:
            if SECRET in file.read():
                return f"{process.name} logged the secret"
        with open(f"/proc/{process.pid}/cmdline", encoding="utf-8") as file:
            if SECRET in file.read():
                return f"{process.name} has the secret in its command line"
    return None


def main():
    passed = failed = 0
    for auth, implicit in (("plain", False), ("login", False), ("plain", True)):
        wrong = case(auth, implicit)
        print(f"{'FAILED' if wrong else 'ok':7} {auth}, {'implicit TLS' if implicit else 'STARTTLS'}", wrong or "")
        passed, failed = passed + (wrong is None), failed + (wrong is not None)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
