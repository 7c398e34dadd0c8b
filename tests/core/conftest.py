"""A proxy between a client and an S3 server that loses, delays and damages what passes."""

from __future__ import annotations

import csv
import http.client
import secrets
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest


@dataclass
class Fault:
    """What happens to the next `times` requests of one method whose path holds `part`.

    refuse: answered with `status` and `code`, never forwarded. lose: forwarded, the answer thrown away. delay: the connection ends,
    the request is forwarded at `land()`. cut: the answer's body breaks off in the middle. flip: one bit of it is changed. page: some
    other server answers, with 200 and a page of its own, the `code`.
    """

    kind: str
    method: str = "PUT"
    part: str = ""
    times: int = 1
    status: int = 503
    code: str = "SlowDown"


@dataclass
class Proxy:
    """Forwards to `upstream` on loopback; the Host header stays as it was signed.

    `conditions`: what becomes of If-None-Match. ignored: taken out, as by stores that do not know it (an upstream that checks
    signatures would notice). refused: answered with 501.
    """

    upstream: str
    conditions: Literal["kept", "ignored", "refused"] = "kept"
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    happened: int = 0
    _delayed: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy.answer(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64  # racers come all at once

            def handle_error(self, *_: object) -> None:
                return  # clients hang up on a proxy like this one

        self.server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def inject(self, kind: str, **rest: object) -> None:
        with self._lock:
            self.faults.append(Fault(kind, **rest))  # type: ignore[arg-type]

    def land(self) -> int:
        """Forwards the delayed requests now; how many there were."""
        with self._lock:
            delayed, self._delayed = self._delayed, []
        for request in delayed:
            self._forward(*request)
        return len(delayed)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = dict(request.headers.items())
        fault = self._take(request.command, request.path)
        if "If-None-Match" in headers and self.conditions == "refused":
            return self._refuse(request, Fault("refuse", status=501, code="NotImplemented"))
        if self.conditions == "ignored":
            headers.pop("If-None-Match", None)
        passed = (request.command, request.path, headers, body)
        if fault and fault.kind == "refuse":
            return self._refuse(request, fault)
        if fault and fault.kind == "page":
            return self._send(request, 200, [("Content-Type", "text/html")], fault.code.encode(), cut=False)
        if fault and fault.kind == "delay":
            with self._lock:
                self._delayed.append(passed)
            return self._hang_up(request)
        status, answered, content = self._forward(*passed)
        if fault and fault.kind == "lose":
            return self._hang_up(request)
        if fault and fault.kind == "flip" and content:
            content = content[:-1] + bytes([content[-1] ^ 1])
        return self._send(request, status, answered, content, cut=bool(fault and fault.kind == "cut"))

    def _take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.seen.append((method, path))
            for fault in self.faults:
                if fault.method == method and fault.part in path:
                    fault.times -= 1
                    if not fault.times:
                        self.faults.remove(fault)
                    self.happened += 1
                    return fault
        return None

    def _forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=30)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            if name.lower() not in ("expect", "connection"):
                connection.putheader(name, value)
        connection.endheaders(body or None)
        response = connection.getresponse()
        content = response.read()
        found = response.status, response.getheaders(), content
        connection.close()
        return found

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], content: bytes, cut: bool
    ) -> None:
        request.send_response_only(status)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                request.send_header(name, value)
        request.send_header("Content-Length", length)
        request.end_headers()
        request.wfile.write(content[: len(content) // 2] if cut else content)
        request.wfile.flush()
        request.close_connection = request.close_connection or cut

    def _refuse(self, request: BaseHTTPRequestHandler, fault: Fault) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>secret-detail</Message></Error>".encode()
        self._send(request, fault.status, [("Content-Type", "application/xml")], text, cut=False)

    def _hang_up(self, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        # Zero linger sends a reset: the client sees neither an answer nor a proper end.
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()


@pytest.fixture
def proxy(s3_server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before each S3 server in turn, with the environment pointing at it."""
    between = Proxy(s3_server.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", between.endpoint)
    yield between
    between.server.shutdown()
    between.server.server_close()


@pytest.fixture
def bucket(s3_server) -> str:
    """A bucket of the test's own."""
    from contender.store.s3_client import make_client

    name = f"own-{secrets.token_hex(4)}"
    make_client(None, 1).create_bucket(Bucket=name)
    return name


@dataclass(frozen=True)
class Stranger:
    """Another user of Ceph: `principal` in a policy; `become` it for the rest of the test."""

    name: str
    patch: pytest.MonkeyPatch

    @property
    def principal(self) -> dict[str, str]:
        return {"AWS": f"arn:aws:iam:::user/{self.name}"}

    def become(self) -> None:
        self.patch.setenv("AWS_ACCESS_KEY_ID", self.name)
        self.patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def stranger(s3_server, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    name = f"user{secrets.token_hex(4)}"
    configuration = Path(s3_server.certificate).parent / "ceph.conf"
    command = f"radosgw-admin -c {configuration} -n client.rgw user create --uid {name} --display-name x"
    keys = ("--access-key", name, "--secret-key", "secret")
    subprocess.run([*command.split(), *keys], check=True, capture_output=True, timeout=60)
    return Stranger(name, monkeypatch)


def write_row_file(path: Path, rows: list[dict[str, Any]], batch: int = 64) -> Path:
    """A row file as a snapshot writes it, from rows given as dicts."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row)) or ["text", "label"]
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    for place, name in enumerate(names):
        if pa.types.is_null(table.column(name).type):
            table = table.set_column(place, name, table.column(name).cast(pa.string()))
    table = table.append_column("_file", pa.array(["data.csv"] * len(rows), pa.string()).dictionary_encode())
    table = table.append_column("_row", pa.array(range(1, len(rows) + 1), pa.int64()))
    path.parent.mkdir(exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)
    return path


@pytest.fixture
def row_file(tmp_path: Path) -> Callable[[list[dict[str, Any]]], Path]:
    return lambda rows: write_row_file(tmp_path / "rows" / "rows.arrow", rows)


@dataclass(frozen=True)
class Gate:
    """Runs the quality gate on rows given as dicts; leaves its files in `out`."""

    folder: Path
    out: Path

    def __call__(self, rows: list[dict[str, Any]], suite: dict[str, Any] | None = None, **options: Any) -> Any:
        from contender.quality.gate import check
        from contender.quality.suites import load_suite

        path = write_row_file(self.folder / "rows.arrow", rows, options.pop("batch", 64))
        settings: dict[str, Any] = {
            "suite_name": "suite.yaml",
            "bad_rows": "quarantine",
            "max_bad_fraction": 0.02,
            **options,
        }
        columns = settings.pop("columns", {"text": "text", "label": "label"})
        suite = suite or load_suite("text_classification.yaml", self.folder)
        return check(path, suite, columns, self.out, **settings)

    @property
    def quarantine(self) -> list[dict[str, str]]:
        with (self.out / "quarantine.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    @property
    def admitted(self) -> list[int]:
        import numpy as np

        return [int(index) for index in np.load(self.out / "admitted.npy")]


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "rows", tmp_path / "out")


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Tiny models gain nothing from more, and wait for each other's where others use the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
