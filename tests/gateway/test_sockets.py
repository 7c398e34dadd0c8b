"""On the wire: senders that dawdle, lie about lengths or speak no HTTP get an answer or a closed connection, and delay nobody."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from gateways import SECRETS, MemoryPrefect, a_pipeline, basic, github, listening

from deployments.gateway import limits, server

pytestmark = pytest.mark.usefixtures("prefect_named")
LIMIT = 2000
AUTH = f"authorization: {basic()['authorization']}\r\n"


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> MemoryPrefect:
    folder = tmp_path_factory.mktemp("sockets")
    given = {"max_bytes": LIMIT, "per_minute": 10_000}
    return MemoryPrefect(
        a_pipeline(folder, "one", **given),
        a_pipeline(folder, "hub", "github", **given),
        a_pipeline(folder, "tok", "token"),
    )


@pytest.fixture(scope="module")
def port(prefect_named: None, prefect: MemoryPrefect, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "REQUEST_SECONDS", 2.0)
        patch.setattr(server, "MOST_UNFINISHED", 50)
        patch.setattr(limits.Bodies.__init__, "__defaults__", (limits.HELD_BYTES, 1.0))
        with listening(prefect, tmp_path_factory.mktemp("journal") / "journal.db") as found:
            yield found


def opened(port: int, said: str | bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(said.encode("latin-1") if isinstance(said, str) else said)
    return connection


def told(connection: socket.socket) -> bytes:
    """All that comes until the connection is closed."""
    parts = []
    with connection:
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
    return b"".join(parts)


def head(path: str = "/hooks/one", *more: str) -> str:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", *more]
    return "\r\n".join(lines) + "\r\n\r\n"


def delivered(port: int) -> float:
    """Seconds that a good delivery takes."""
    began = time.monotonic()
    answer = httpx.post(f"http://127.0.0.1:{port}/hooks/one", content=str(began), headers=basic())
    assert answer.status_code == 202, answer.text
    return time.monotonic() - began


def test_clients_that_open_and_say_nothing_keep_nobody_out(port: int) -> None:
    silent = [opened(port, said) for said in [b"", b"POST /hooks/one HTTP/1.1\r\nx: "] for _ in range(60)]
    assert delivered(port) < 1.0
    assert told(silent[0]) == b"", "the oldest made room"
    began = time.monotonic()
    assert [told(one) for one in silent[1:]] == [b""] * 119
    assert time.monotonic() - began < 4, "the others had their time"


def test_a_header_that_trickles_in_is_given_up(port: int) -> None:
    connection = opened(port, "POST /hooks/one HTTP/1.1\r\n")
    began = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - began < 10:
            connection.sendall(b"a: b\r\n")
            time.sleep(0.1)
    assert time.monotonic() - began < 4
    connection.close()


def test_bodies_that_trickle_in_are_given_up_and_keep_nobody_out(port: int) -> None:
    signature = f"x-hub-signature-256: {github(b'')['x-hub-signature-256']}"
    slow = [opened(port, head("/hooks/hub", "content-length: 100", signature) + "x") for _ in range(40)]
    assert delivered(port) < 1.0
    for connection in slow:
        assert told(connection).startswith(b"HTTP/1.1 408 ")


def test_a_sender_that_is_not_known_is_answered_before_its_body(port: int) -> None:
    connection = opened(port, head("/hooks/one", "content-length: 1000", "expect: 100-continue"))
    assert connection.recv(100).startswith(b"HTTP/1.1 401 "), "and no 100 Continue"
    connection.close()


def test_a_body_that_says_it_is_too_large_is_answered_before_it_is_sent(port: int) -> None:
    connection = opened(port, head("/hooks/one", "content-length: 999999999", AUTH.strip()))
    assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    connection.sendall(b"x" * 100_000)  # what is sent all the same is thrown away
    assert b"413" not in told(connection)


def test_a_chunked_body_is_cut_off_at_the_limit(port: int) -> None:
    connection = opened(port, head("/hooks/one", "transfer-encoding: chunked", AUTH.strip()))
    for _ in range(30):
        connection.sendall(b"64\r\n" + b"x" * 100 + b"\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    connection.close()


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"POST /hooks/one HTTP/1.1\r\n\r\n",
    b"POST /hooks/one HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    b"POST /hooks/one HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    b"POST /hooks/one HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
    b"POST /hooks/one HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: gzip\r\n\r\n",
    b"POST /hooks/one HTTP/1.1\r\nhost: 127.0.0.1\r\nbad header\r\n\r\n",
    b"POST /hooks/one HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"y" * 20_000 + b"\r\n\r\n",
    b"POST /hooks/" + b"y" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /hooks/one\x00 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST http://evil.example.org/hooks/one HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"CONNECT evil.example.org:443 HTTP/1.1\r\nhost: evil.example.org:443\r\n\r\n",
    b"GET /hooks/one HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
]


@pytest.mark.parametrize("said", NO_HTTP, ids=range(len(NO_HTTP)))
def test_what_is_no_delivery_is_refused(port: int, prefect: MemoryPrefect, said: bytes) -> None:
    before = len(prefect.runs)
    connection = opened(port, said)
    answer = connection.recv(1000)
    connection.close()
    assert answer.startswith((b"HTTP/1.1 4",)), answer
    assert b"Traceback" not in answer and len(prefect.runs) == before
    assert delivered(port) < 1.0


def test_two_ways_to_say_the_length_do_not_hide_a_second_delivery(port: int, prefect: MemoryPrefect) -> None:
    """What a proxy in front could take for one request must not be two here, or the other way round."""
    hidden = head(f"/hooks/tok/{SECRETS['token']}", "content-length: 0")
    chunk = f"0\r\n\r\n{hidden}"
    lengths = (f"content-length: {len(chunk)}", "transfer-encoding: chunked")
    connection = opened(port, head("/hooks/one", *lengths, AUTH.strip()) + chunk)
    answer = told(connection)
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith(b"HTTP/1.1 400 ")


def test_several_deliveries_on_one_connection_are_answered_in_order(port: int) -> None:
    said = ""
    for body in ("a1", "a2", "a3"):
        said += (
            head("/hooks/one", "content-length: 2", AUTH.strip(), *(["connection: close"] if body == "a3" else []))
            + body
        )
    answer = told(opened(port, said))
    assert answer.count(b"HTTP/1.1 202 ") == 3


def test_a_connection_that_ends_within_a_body_starts_nothing(port: int, prefect: MemoryPrefect) -> None:
    prefect.begin_all()
    before = len(prefect.runs)
    opened(port, head("/hooks/one", "content-length: 100", AUTH.strip()) + "half").close()
    time.sleep(0.3)
    assert len(prefect.runs) == before


def test_no_answer_names_the_server(port: int) -> None:
    answer = httpx.get(f"http://127.0.0.1:{port}/healthz")
    assert "server" not in answer.headers


def test_an_idle_connection_is_closed(port: int) -> None:
    connection = opened(port, head("/hooks/one", "content-length: 0"))
    began = time.monotonic()
    assert told(connection).startswith(b"HTTP/1.1 401 ") and time.monotonic() - began < 6
