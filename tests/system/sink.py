"""A foreign mail server (aiosmtpd) on 127.0.0.1: sink.py PORT FOLDER [--user NAME --secret-file FILE] [--refuse]. Each message becomes a
file, whose name says how many came before it. With a user it takes mail only after AUTH; with --refuse it greets with 554."""
import argparse
import asyncio
import itertools
import os
import pathlib

from aiosmtpd.smtp import SMTP, AuthResult


class Folder:
    def __init__(self, path):
        self.path = path
        self.numbers = itertools.count()

    async def handle_DATA(self, server, session, envelope):
        name = os.path.join(self.path, f"{os.getpid()}-{next(self.numbers):06}")
        with open(name + ".new", "wb") as f:
            f.write(envelope.content)
        os.rename(name + ".new", name + ".eml")
        return "250 2.0.0 Written"


async def refuse(reader, writer):
    writer.write(b"554 5.3.2 No service here\r\n")
    await writer.drain()
    writer.close()


async def main(a):
    loop = asyncio.get_running_loop()
    if a.refuse:
        server = await asyncio.start_server(refuse, "127.0.0.1", a.port)
    else:
        secret = pathlib.Path(a.secret_file).read_bytes().strip() if a.secret_file else b""

        def check(server, session, envelope, mechanism, login):
            return AuthResult(success=login.login == a.user.encode() and login.password == secret)

        handler = Folder(a.folder)
        server = await loop.create_server(
            lambda: SMTP(handler, loop=loop, hostname="sink.test", decode_data=False, authenticator=check,
                         auth_required=bool(a.user), auth_require_tls=False), "127.0.0.1", a.port)
    await server.serve_forever()


arguments = argparse.ArgumentParser()
arguments.add_argument("port", type=int)
arguments.add_argument("folder")
arguments.add_argument("--user", default="")
arguments.add_argument("--secret-file", default="")
arguments.add_argument("--refuse", action="store_true")
asyncio.run(main(arguments.parse_args()))
