"""Asking somebody else's model: what each answer of a server means, over real HTTP on loopback, and that no error holds the key."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from contender.apibase import Api, Reply
from contender.errors import Transient, UsageError

KEY = "sk-very-secret"
ASKED = [{"role": "user", "content": "which?"}]
RIGHT = {"choices": [{"message": {"content": "red"}}], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}


@contextmanager
def server(*answers: tuple[int, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives these answers in turn, the last one for ever; its URL, and what it was sent."""
    heard: list[dict[str, Any]] = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append({"path": self.path, "key": self.headers["Authorization"], **json.loads(body)})
            status, value = answers[min(len(heard), len(answers)) - 1]
            content = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}/v1", heard
    finally:
        serving.shutdown()
        serving.server_close()
        thread.join()


def test_an_answer_is_its_text_and_what_it_cost() -> None:
    with server((200, RIGHT)) as (url, heard), Api(url, "large", KEY) as api:
        reply = api.ask(ASKED, 5)
    assert (reply.text, reply.input_tokens, reply.output_tokens) == ("red", 7, 2)
    assert 0 < reply.seconds < 60
    (sent,) = heard
    assert (sent["path"], sent["key"], sent["model"]) == ("/v1/chat/completions", f"Bearer {KEY}", "large")
    assert (sent["messages"], sent["temperature"], sent["max_tokens"]) == (ASKED, 0.0, 5)


def test_a_server_that_counts_no_tokens_costs_nobody_knows_what() -> None:
    with server((200, {"choices": [{"message": {"content": None}}]})) as (url, heard), Api(url, "large") as api:
        reply = api.ask(ASKED, 5)
    assert (reply.text, reply.input_tokens, heard[0]["key"]) == ("", None, None)


def test_half_a_surrogate_pair_in_an_answer_becomes_a_character_that_can_be_kept() -> None:
    """Servers that decode a token at a time send them; no file could hold the answer."""
    with server((200, {"choices": [{"message": {"content": "a\ud83d"}}]})) as (url, _), Api(url, "large") as api:
        reply = api.ask(ASKED, 5)
    assert Reply.from_bytes(reply.to_bytes()).text == "a\ufffd"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_passes_is_transient(status: int) -> None:
    with (
        server((status, "busy")) as (url, _),
        Api(url, "large", KEY) as api,
        pytest.raises(Transient, match=str(status)),
    ):
        api.ask(ASKED, 5)


def test_a_server_that_is_not_there_is_transient() -> None:
    with server((200, RIGHT)) as (url, _):
        pass
    with Api(url, "large", KEY) as api, pytest.raises(Transient, match=r"127\.0\.0\.1"):
        api.ask(ASKED, 5)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}, "answered 401: the key"),
        (403, "no", "answered 403: the key"),
        (404, "no", "answered 404"),
        (302, "", "answered 302"),
        (400, {"error": {"message": f"no such thing for {KEY}"}}, "answered 400: no such thing for …"),
        (422, {"error": {"message": "too\nlong"}}, "answered 422: too long"),
        (400, [1], "answered 400: [1]"),
        (400, {"error": "plain"}, "answered 400"),
        (200, "<html>hello</html>", "does not answer as an OpenAI-compatible server"),
        (200, {"choices": []}, "does not answer as an OpenAI-compatible server"),
        (200, [], "does not answer as an OpenAI-compatible server"),
        (200, {"choices": [{"message": {"content": ["parts"]}}]}, "does not answer as an OpenAI-compatible server"),
    ],
)  # fmt: skip
def test_what_stays_is_a_users_error_that_names_the_url_and_never_the_key(status: int, body: Any, said: str) -> None:
    with (
        server((status, body)) as (url, heard),
        Api(url, "large", KEY) as api,
        pytest.raises(UsageError) as error,
    ):
        api.ask(ASKED, 5)
    assert said in error.value.what and url in error.value.what
    assert KEY not in str(error.value) and KEY not in str(pickle.dumps(error.value))
    assert len(heard) == 1


def test_an_option_that_a_model_refuses_is_left_out_from_then_on() -> None:
    refusal = {"error": {"message": "Unsupported parameter: 'max_tokens'"}}
    with server((400, refusal), (200, RIGHT)) as (url, heard), Api(url, "large") as api:
        assert api.ask(ASKED, 5).text == api.ask(ASKED, 5).text == "red"
    assert ["max_tokens" in sent for sent in heard] == [True, False, False]
    assert all(sent["temperature"] == 0.0 for sent in heard)
