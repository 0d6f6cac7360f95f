"""Every foreign client x every foreign server x the corpus: the mail data that arrives is what was sent.
See run.sh. Ends with a table and `N passed, N failed`; exit 1 when something failed."""
import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time

import clients
import corpus
import peers
from processes import Failed, Processes
from relay import Relay, executable

SENDING = 120       # seconds after which nothing more is sent
ARRIVING = 40       # seconds for the last mail to arrive after everything has been sent
TOTAL = 200         # seconds for sending and arriving together


class Cell:
    """One mail from one client to one server."""

    def __init__(self, client, peer, mail):
        self.client, self.peer, self.mail = client, peer, mail
        self.key = f"{mail.name}.{client.name}"
        self.why_not = client.CANNOT.get(mail.name) or peer.CANNOT.get(mail.name)
        local = ("送信者.", "受信者.") if mail.utf8 else ("", "")
        domain = f"@{peer.name}.test"
        self.sender = "" if mail.null_sender else f"{local[0]}{self.key}@from.test"
        first = f"{local[1]}{self.key}{domain}"
        # The names that smtp-source makes of one address.
        self.recipients = [first, *(f"{n}{first}" for n in range(2, mail.recipients + 1))]
        self.missing = dict.fromkeys(self.recipients, mail.copies)
        self.problem = None
        self.finished = self.why_not is not None

    def fail(self, problem):
        self.problem = self.problem or problem
        self.finished = True

    def state(self):
        return "n/a" if self.why_not else "FAIL" if self.problem else "ok" if self.finished else "?"


class Run:
    def __init__(self, options, folder, processes):
        self.options, self.folder, self.processes = options, folder, processes
        self.problems = []      # texts of failures that belong to no cell
        self.checks = 0         # checks that belong to no cell
        self.message_ids = set()
        self.threads = []       # one per client
        self.stopping = False   # nothing more is to be sent

    def prepare(self):
        cache = os.environ.get("MFRELAY_FOREIGN_CACHE", "/var/cache/mfrelay-foreign")
        postfix = os.path.join(cache, "postfix")
        self.mails = [m for m in corpus.corpus(self.sign()) if chosen(self.options.mail, m.name)]
        self.peers = [p(os.path.join(self.folder, p.name), self.processes, postfix)
                      for p in peers.ALL if chosen(self.options.servers, p.name)]
        self.clients = [c(os.path.join(self.folder, c.name), self.processes, postfix)
                        for c in clients.ALL if chosen(self.options.clients, c.name)]
        self.relay = None if self.options.direct else Relay(self.folder, self.processes, self.peers)
        self.cells = [Cell(c, p, m) for m in self.mails for c in self.clients for p in self.peers]
        self.owners = {r: cell for cell in self.cells for r in cell.recipients}

    # DKIM

    def dkim(self, *arguments, **more):
        tool = executable("mfrelay-dkim", "tests/Mfrelay.Dkim")
        return self.processes.run([tool, *arguments], timeout=30, **more)

    def sign(self):
        """Makes a key, signs, and sees that verifying can fail."""
        self.key = os.path.join(self.folder, "dkim.key")
        unsigned, signed, broken = (os.path.join(self.folder, n) for n in ("unsigned.eml", "signed.eml", "broken.eml"))
        write(unsigned, corpus.unsigned())
        self.dkim("make-key", self.key)
        self.dkim("sign", self.key, unsigned, signed)
        data = peers.read(signed)
        write(broken, data.replace(b"trailing spaces   ", b"trailing spaces  "))
        self.dkim("verify", self.key, signed)
        try:
            self.dkim("verify", self.key, broken)
        except Failed:
            return data
        raise Failed("mfrelay-dkim verifies a message that was changed")

    # Sending

    def send_all(self):
        self.threads = [threading.Thread(target=self.send_from, args=(c,), daemon=True) for c in self.clients]
        for t in self.threads:
            t.start()

    def send_from(self, client):
        for cell in (c for c in self.cells if c.client is client and not c.why_not):
            try:
                if self.stopping:
                    raise Failed("not sent: the run was ending")
                if time.monotonic() - self.started > SENDING:
                    raise Failed(f"not sent: {SENDING} s are over")
                port = self.relay.port if self.relay else cell.peer.port
                client.send(cell.mail, port, cell.sender, cell.recipients)
            except Failed as e:
                cell.fail(str(e))

    # Arriving

    def receive_all(self):
        """Looks for arrivals until every cell has its result, a daemon dies or the time is over."""
        deadline = self.started + TOTAL
        sent_all = False
        while not all(c.finished for c in self.cells) and time.monotonic() < deadline:
            self.take_arrivals()
            if self.relay and self.relay.dead():
                self.problems.append(self.relay.dead())
                break
            if not sent_all and not any(t.is_alive() for t in self.threads):
                sent_all = True
                deadline = min(deadline, time.monotonic() + ARRIVING)
            time.sleep(0.1)

    def take_arrivals(self):
        for peer in self.peers:
            for arrival in peer.new_arrivals():
                self.take(peer, arrival)

    def take(self, peer, arrival):
        owners = {id(self.owners[r]): self.owners[r] for r in arrival.recipients if r in self.owners}
        strangers = [r for r in arrival.recipients if r not in self.owners]
        if strangers or len(owners) != 1:
            self.problems.append(f"{peer.name} got mail for {', '.join(arrival.recipients[:3])} from <{arrival.sender}>")
            return
        cell = owners.popitem()[1]
        if cell.peer is not peer:
            cell.fail(f"arrived at {peer.name}")
        if arrival.sender != cell.sender:
            cell.fail(f"reverse-path: sent <{cell.sender}>, arrived <{arrival.sender}>")
        cell.problem = cell.problem or self.difference(cell, arrival.data)
        for recipient in arrival.recipients:
            cell.missing[recipient] -= 1
            if cell.missing[recipient] < 0:
                cell.fail(f"arrived more than once for {recipient}")
        if not any(cell.missing.values()):
            cell.finished = True

    def difference(self, cell, data):
        """What is wrong with mail data that arrived, or None."""
        if cell.mail.dkim:
            arrived = os.path.join(self.folder, "arrived.eml")
            write(arrived, data)
            try:
                self.dkim("verify", self.key, arrived)
            except Failed as e:
                return str(e)
        if self.relay:
            field, data = peers.strip_field(data, b"Received")
            if not field or b"by relay.test" not in field:
                return f"does not begin with the relay's Received field but with {data[:60]!r}"
        if cell.mail.data is None:
            match = clients.generated_header(cell.sender, cell.recipients[0]).match(data)
            if not match:
                return f"header is not that of smtp-source: {data[:160]!r}"
            if match[1] in self.message_ids:
                return f"Message-Id {match[1].decode()} arrived twice"
            self.message_ids.add(match[1])
            data = data[match.end():]
            return differing(cell.client.wire(cell.mail), data)
        return differing(cell.peer.changes(cell.client.wire(cell.mail)), data)

    # Results

    def finish(self):
        """Ends the relay, so that nothing can arrive afterwards, and gives every open cell its failure."""
        self.stopping = True
        if self.relay and not self.relay.dead():
            self.checks = 2
            self.problems += self.relay.end()
        self.take_arrivals()
        for cell in self.cells:
            if not cell.finished:
                missing = [r for r, n in cell.missing.items() if n]
                text = f"did not arrive for {len(missing)} of {len(cell.recipients)} recipients"
                if len(missing) < len(cell.recipients):
                    text += f", the first {missing[0]}"
                if cell.mail.copies > 1:
                    text = f"{sum(cell.missing.values())} of {cell.mail.copies} copies did not arrive"
                log = self.relay.log_of(cell.key) if self.relay else ""
                cell.fail(text + (f" ({log})" if log else ""))

    def report(self):
        for problem in self.problems:
            print(f"FAIL {problem}")
        for cell in self.cells:
            if cell.problem:
                print(f"FAIL {cell.client.name} -> {cell.peer.name}, {cell.mail.name}: {cell.problem}")
        print_table(self)
        failed = sum(c.problem is not None for c in self.cells)
        passed = sum(c.why_not is None for c in self.cells) - failed + max(0, self.checks - len(self.problems))
        print(f"{passed} passed, {failed + len(self.problems)} failed")
        return 1 if failed or self.problems or not passed else 0


def print_table(run):
    widths = [max(len(p.name) for p in run.peers)] * len(run.peers)
    block = sum(widths) + 2 * len(widths)
    first = max(len(m.name) for m in run.mails) + 2
    print("\n" + " " * first + "".join(c.name.ljust(block) for c in run.clients).rstrip())
    print("".ljust(first) + "".join(p.name.ljust(w + 2) for c in run.clients for p, w in zip(run.peers, widths)).rstrip())
    for mail in run.mails:
        states = [c.state() for c in run.cells if c.mail is mail]
        print((mail.name.ljust(first) + "".join(s.ljust(w + 2) for s, w in zip(states, widths * len(run.clients))) + mail.note).rstrip())
    print()
    for who in (*run.clients, *run.peers):
        for name, why in who.CANNOT.items():
            if any(m.name == name for m in run.mails):
                print(f"n/a {who.name}, {name}: {why}")


def differing(sent, arrived):
    """Where two octet strings begin to differ, or None."""
    if sent == arrived:
        return None
    at = next((i for i, (a, b) in enumerate(zip(sent, arrived)) if a != b), min(len(sent), len(arrived)))
    begin = max(0, at - 4)
    return (f"mail data differs at offset {at}: sent {len(sent)} octets, from {begin}: {sent[begin:at + 16].hex(' ') or '(end)'}; "
            f"arrived {len(arrived)}, from {begin}: {arrived[begin:at + 16].hex(' ') or '(end)'}")


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def chosen(names, name):
    return not names or name in names.split(",")


def main():
    parser = argparse.ArgumentParser(prog="run.sh", description="Foreign clients x foreign servers x corpus through mfrelay.")
    parser.add_argument("--direct", action="store_true", help="send to the servers without the relay: shows what the peers change themselves")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder (logs, dumps, state directory)")
    parser.add_argument("--clients", metavar="A,B", help=f"of {','.join(c.name for c in clients.ALL)}")
    parser.add_argument("--servers", metavar="A,B", help=f"of {','.join(p.name for p in peers.ALL)}")
    parser.add_argument("--mail", metavar="A,B", help="names of the corpus")
    options = parser.parse_args()

    def interrupted(number, _):
        raise KeyboardInterrupt(signal.Signals(number).name)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupted)

    folder = tempfile.mkdtemp(prefix="mfrelay-foreign.")
    os.chmod(folder, 0o711)     # the peers run under accounts of their own
    processes = Processes(folder)
    run = Run(options, folder, processes)
    run.started = time.monotonic()
    try:
        run.prepare()
        run.send_all()
        run.receive_all()
        run.finish()
        status = run.report()
    except Failed as e:
        print(f"FAIL {e}\n0 passed, 1 failed")
        status = 1
    except KeyboardInterrupt as e:
        print(f"FAIL interrupted by {e}\n0 passed, 1 failed")
        status = 1
    finally:
        run.stopping = True
        processes.end_all()
        for thread in run.threads:      # they still write into the folder
            thread.join(10)
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return status


sys.exit(main())
