"""Receivers of notifications on loopback: HTTP, HTTPS under names of others behind a proxy, and SMTP."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ports import free_port

SECRET = "s3cr3t-t0k3n-in-the-path"


@dataclass
class Receiver:
    """What came to an HTTP server on loopback, and what it answers: `statuses` in turn, the last one for ever."""

    statuses: list[int] = field(default_factory=lambda: [200])
    hang: float = 0.0  # seconds before it answers
    location: str = ""
    port: int = 0
    paths: list[str] = field(default_factory=list)
    payloads: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/{SECRET}"

    @property
    def text(self) -> str:
        (only,) = self.payloads
        return json.dumps(only, ensure_ascii=False)


@contextmanager
def receiving(receiver: Receiver, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            receiver.paths.append(self.path)
            receiver.payloads.append(json.loads(body))
            time.sleep(receiver.hang)
            status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
            with suppress(OSError):
                self.send_response(status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def never_answering() -> Iterator[str]:
    """The URL of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hooks/{SECRET}"


@contextmanager
def dripping() -> Iterator[str]:
    """The URL of a server whose answer comes a byte at a time, so that no read ever times out."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.2)

        threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hooks/{SECRET}"


@dataclass(frozen=True)
class Authority:
    """A certificate for some names, signed by itself."""

    certificate: Path
    context: ssl.SSLContext


def certified(folder: Path, *names: str) -> Authority:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return Authority(certificate, context)


@contextmanager
def proxying(target: int, asked: list[str]) -> Iterator[str]:
    """A proxy that sends every CONNECT, whoever it asks for, to a port of this machine; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pump(source: socket.socket, sink: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
            for end in (source, sink):  # each asks once
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    asked.append(client.recv(65536).decode().split()[1])
                    upstream = socket.create_connection(("127.0.0.1", target))
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    for pair in ((client, upstream), (upstream, client)):
                        threading.Thread(target=pump, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def mailbox() -> Iterator[tuple[int, list[EmailMessage]]]:
    """The port of an SMTP server, and the mails that came to it."""
    from aiosmtpd.controller import Controller

    mails: list[EmailMessage] = []

    class Keep:
        async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802
            mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
            return "250 OK"

    port = free_port()
    controller = Controller(Keep(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port, mails
    finally:
        controller.stop()
