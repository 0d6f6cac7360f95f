"""A receiving server of aiosmtpd: aiosmtpd_peer.py PORT FOLDER. Writes the octets it got, and the envelope beside them."""
import asyncio
import itertools
import json
import os
import signal
import sys

from aiosmtpd.smtp import SMTP


class Exact:
    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count()

    async def handle_DATA(self, server, session, envelope):
        path = os.path.join(self.folder, f"{os.getpid()}-{next(self.numbers):06}")   # it may be started again
        with open(path + ".data", "wb") as f:
            f.write(envelope.content)
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump({"sender": envelope.mail_from, "recipients": envelope.rcpt_tos}, f)
        os.rename(path + ".new", path + ".envelope")
        return "250 2.0.0 Written"


class LongLines(SMTP):
    line_length_limit = 1 << 20     # 1,001 by default, which refuses lines that the corpus has


async def main(port, folder):
    loop = asyncio.get_running_loop()
    handler = Exact(folder)
    server = await loop.create_server(
        lambda: LongLines(handler, loop=loop, hostname="aiosmtpd.test", decode_data=False, enable_SMTPUTF8=True,
                          data_size_limit=64 << 20), "127.0.0.1", port)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
