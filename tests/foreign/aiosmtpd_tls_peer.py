"""A receiving server of aiosmtpd that wants TLS and a login: aiosmtpd_tls_peer.py PORT FOLDER PEM starttls|implicit PASSWORD. Writes
"VERSION USER" of each session that sent mail data."""
import asyncio
import itertools
import os
import signal
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Sessions:
    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count()

    async def handle_DATA(self, server, session, envelope):
        version = server.transport.get_extra_info("ssl_object").version()
        path = os.path.join(self.folder, str(next(self.numbers)))
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(f"{version} {session.auth_data.decode()}")
        os.rename(path + ".new", path)
        return "250 2.0.0 Written"


async def main(port, folder, pem, how, password):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, pem + ".key")

    def authenticate(server, session, envelope, mechanism, data):
        good = data.login == b"user" and data.password == password.encode()
        return AuthResult(success=good, auth_data=data.login)

    def session():
        wants = {"auth_require_tls": False} if how == "implicit" else {"tls_context": context, "require_starttls": True}
        return SMTP(Sessions(folder), loop=loop, hostname="aiosmtpd.test", authenticator=authenticate, auth_required=True, **wants)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", port, ssl=context if how == "implicit" else None)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
