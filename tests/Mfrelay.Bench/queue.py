#!/usr/bin/env python3
"""What a long queue and a dead mail server cost the others: both daemons between the source and the sink of the relay benchmark.

    BENCH=.../bench MFRELAY_BIN=DIRECTORY tests/Mfrelay.Bench/queue.py fair|sizes|long STATE [ROUNDS]

MFRELAY_BIN: the programs as they are packaged (mf-smtp-server, mf-smtp-client, mfrelay).
fair   messages/s to a live mail server, alone, and beside one that takes connections and never greets, with 10,000 messages due for it
sizes  processor time of each daemon per message at 4 KiB and 64 KiB
long   STATE is filled with deliveries ("Mfrelay.Bench -- fill STATE 1000000", at most half an hour before: then they are due): first delivery,
       accept rate, memory, "mfrelay queue", by turns with an empty state. Rounds take turns, so that noise hits both; the ratio is that of the medians.
"""
import json, os, shutil, socket, statistics, struct, subprocess, sys, tempfile, threading, time

BENCH, BIN = os.environ["BENCH"], os.environ["MFRELAY_BIN"]
PORT, SINK, DEAD = 2551, 2552, 2559
DAEMONS = ("mf-smtp-server", "mf-smtp-client")


class Relay:
    """Both daemons on a state directory, and the sink."""

    def __init__(self, state):
        self.dir = tempfile.mkdtemp(prefix="queue.", dir=os.environ.get("MFRELAY_BENCH_DIR", "/var/tmp"))
        self.config, self.stats = f"{self.dir}/mfrelay.toml", f"/dev/shm/queue.{os.getpid()}"
        with open(self.config, "w") as f:
            f.write(f'''host_name = "relay.bench.test"
state_directory = "{state or self.dir + '/state'}"
run_directory = "{self.dir}/run"
language = "en"
server.listen = ["127.0.0.1:{PORT}"]
[[mail_server]]
domain = "dead.bench.test"
host = "127.0.0.2"
port = {DEAD}
when_down = "queue"
greeting_timeout = "30s"
[[mail_server]]
domain = "*"
host = "127.0.0.1"
port = {SINK}
when_down = "queue"
''')
        if os.path.exists(self.stats):
            os.unlink(self.stats)
        self.sink = subprocess.Popen([f"{BENCH}/bin/bsink", str(SINK), self.stats])
        self.began = time.monotonic()
        self.daemons = {}
        for name in DAEMONS:
            with open(f"{self.dir}/{name}.log", "w") as log:
                self.daemons[name] = subprocess.Popen([f"{BIN}/{name}", "--config", self.config], stdout=log, stderr=log)
        self.until(lambda: "INFO_c101" in open(f"{self.dir}/mf-smtp-server.log").read(4000))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in [*self.daemons.values(), self.sink]:
            process.terminate()
        for process in [*self.daemons.values(), self.sink]:
            process.wait()
        shutil.rmtree(self.dir)

    def until(self, condition, limit=120):
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                sys.exit(f"did not come to that; see {self.dir}")
            time.sleep(0.005)

    def received(self):
        with open(self.stats, "rb") as f:
            return struct.unpack_from("<6Q", f.read(48))[5]

    def send(self, count, size, domain="live.bench.test"):
        """Messages/s until the last 250, and until the last is at the sink (0 for mail that does not go there)."""
        before, start = self.received(), time.monotonic()
        out = subprocess.run([f"{BENCH}/bin/bsource", str(PORT), str(count), str(size), "20", "1", domain], capture_output=True, text=True, check=True)
        accepted = count / json.loads(out.stdout)["secs"]
        if domain.startswith("dead"):
            return accepted, 0
        self.until(lambda: self.received() >= before + count)
        return accepted, count / (time.monotonic() - start)

    def cpu(self, name):
        fields = open(f"/proc/{self.daemons[name].pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def quiet(self):
        """Waits until mf-smtp-client has read its queue and has nothing to do; how long after the start that was."""
        def is_idle():
            before = self.cpu("mf-smtp-client")
            time.sleep(1)
            return self.cpu("mf-smtp-client") - before <= 0.03
        self.until(is_idle)
        return time.monotonic() - self.began

    def resident(self, name):
        return int(open(f"/proc/{self.daemons[name].pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def never_greets():
    listener = socket.create_server(("127.0.0.2", DEAD), backlog=1000)
    taken = []
    threading.Thread(target=lambda: [taken.append(listener.accept()) for _ in iter(int, 1)], daemon=True).start()


def fair(rounds):
    never_greets()
    rates = {"alone": [], "beside": []}
    for _ in range(rounds):
        for kind, all_rates in rates.items():
            with Relay(None) as relay:
                relay.send(3000, 4096)
                if kind == "beside":
                    relay.send(10_000, 4096, "dead.bench.test")
                all_rates.append(relay.send(10_000, 4096)[1])
    print(f"alone {show(rates['alone'])}; beside a silent mail server {show(rates['beside'])}: {ratio(rates['beside'], rates['alone'])}")


def sizes(rounds):
    for size, count in ((4096, 10_000), (65536, 3_000)):
        spent = {name: [] for name in DAEMONS}
        for _ in range(rounds):
            with Relay(None) as relay:
                before = {name: relay.cpu(name) for name in DAEMONS}
                relay.send(count, size)
                for name in DAEMONS:
                    spent[name].append((relay.cpu(name) - before[name]) / count * 1e6)
        print(f"{size} octets, {count} messages from the start: " + ", ".join(f"{name} {show(all)} us" for name, all in spent.items()))


def long(state, rounds):
    rates, at_start = {"empty": [], "long": []}, []
    for _ in range(rounds):
        for kind, all_rates in rates.items():
            with Relay(None if kind == "empty" else state) as relay:
                relay.send(1, 4096)
                first = time.monotonic() - relay.began
                relay.send(3000, 4096)
                if kind == "long":
                    at_start.append(relay.send(10_000, 4096)[0])
                loaded = relay.quiet()
                all_rates.append(relay.send(10_000, 4096)[0])
                start = time.monotonic()
                subprocess.run([f"{BIN}/mfrelay", "queue", "--config", relay.config], stdout=subprocess.DEVNULL, check=True)
                print(f"{kind}: first delivery {first:.1f} s after the start, queue read after {loaded:.0f} s, accepts {all_rates[-1]:.0f}/s, "
                      f"mf-smtp-client {relay.resident('mf-smtp-client')} MiB, "
                      f"\"mfrelay queue\" {time.monotonic() - start:.2f} s")
    print(f"accepts, empty {show(rates['empty'])}; long {show(rates['long'])}: {ratio(rates['long'], rates['empty'])}; "
          f"while the queue is still being read {show(at_start)}: {ratio(at_start, rates['empty'])}")


def show(values):
    return " ".join(f"{value:.0f}" for value in values)


def ratio(these, those):
    return f"{statistics.median(these) / statistics.median(those):.1%}"


if __name__ == "__main__":
    print("load average", open("/proc/loadavg").read().split()[0])
    match sys.argv[1:]:
        case ["fair", *more]:
            fair(int(more[0]) if more else 3)
        case ["sizes", *more]:
            sizes(int(more[0]) if more else 3)
        case ["long", state, *more]:
            long(state, int(more[0]) if more else 3)
        case _:
            sys.exit(__doc__)
