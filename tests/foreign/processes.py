"""Starting and ending processes: all that is started here is ended here, by its process id."""
import os
import signal
import socket
import subprocess
import threading
import time


class Failed(Exception):
    """Something went wrong; the text says what, for the reader of the output."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tail(path, count=5):
    with open(path, "rb") as f:
        return b" | ".join(f.read().splitlines()[-count:]).decode("utf-8", "replace")


class Processes:
    def __init__(self, folder):
        self._folder = folder
        self._running = {}      # Popen -> name, in the order of starting
        self._lock = threading.Lock()
        self._closed = False

    def start(self, name, argv, **popen):
        """Starts a server as the leader of a process group of its own; its output goes to NAME.log."""
        log = os.path.join(self._folder, name + ".log")
        with open(log, "wb") as out:
            process = self._popen(name, argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **popen)
        process.name, process.log = name, log
        return process

    def run(self, argv, stdin=None, timeout=60, **popen):
        """Runs a program to its end. Raises Failed with its output when that is not exit 0 within the timeout."""
        with open(stdin or os.devnull, "rb") as source:
            process = self._popen(argv[0], argv, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.end(process, 0)
            raise Failed(f"{os.path.basename(argv[0])} did not end within {timeout} s") from None
        with self._lock:
            self._running.pop(process, None)
        text = output.decode("utf-8", "replace")
        if process.returncode != 0:
            raise Failed(f"{os.path.basename(argv[0])}: exit {process.returncode}: {' | '.join(text.split(chr(10))[-12:])[-600:]}")
        return text

    def _popen(self, name, argv, **popen):
        with self._lock:
            if self._closed:
                raise Failed("the run is ending")
            process = subprocess.Popen(argv, start_new_session=True, **popen)
            self._running[process] = name
            return process

    def end(self, process, patience=10):
        """SIGTERM, then after `patience` seconds SIGKILL to the group. Returns the exit status (negative: the signal)."""
        if process.poll() is None and patience:
            process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)  # children that outlived it, and itself
        except ProcessLookupError:
            pass
        with self._lock:
            self._running.pop(process, None)
        return process.wait()

    def end_all(self):
        with self._lock:
            self._closed = True
        for process in reversed(list(self._running)):
            self.end(process, 5)


def wait_for_port(process, port, seconds=20):
    """Returns when 127.0.0.1:port accepts a connection."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(f"{process.name} ended with {process.returncode}: {tail(process.log)}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise Failed(f"{process.name} does not listen on port {port} after {seconds} s: {tail(process.log)}")
