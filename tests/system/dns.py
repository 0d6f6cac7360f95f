"""A DNS server on 127.0.0.1:53 for which every domain has the MX record "10 mail.test", and every name the address 127.0.0.1."""
import socket
import struct

MX, A, IN = 15, 1, 1


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def answer(query):
    end = query.index(b"\0", 12) + 5
    question, (kind,) = query[12:end], struct.unpack("!H", query[end - 4:end - 2])
    data = {MX: struct.pack("!H", 10) + name("mail.test"), A: bytes([127, 0, 0, 1])}.get(kind)
    record = b"" if data is None else struct.pack("!HHHIH", 0xC00C, kind, IN, 60, len(data)) + data
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(data is not None), 0, 0) + question + record


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", 53))
    while True:
        request, client = server.recvfrom(4096)
        server.sendto(answer(request), client)
