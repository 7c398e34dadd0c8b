"""A model that is somebody else's, asked over the OpenAI-compatible protocol: how long an answer took, and the tokens that it cost."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import httpx
from pydantic import Field

from contender.errors import Transient, UsageError
from contender.records import Record
from contender.text import shorten

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 120.0
TRY_AGAIN = (408, 409, 425, 429)  # and all of 500 and above
OPTIONAL = ("temperature", "max_tokens")  # that some models refuse; they are then asked without
SHOWN = 200  # characters of what a server says

Message = dict[str, str]


class Reply(Record):
    """One answer; tokens as the server counts them, None where it does not."""

    text: str
    seconds: float
    input_tokens: int | None = None
    output_tokens: int | None = Field(default=None, description="those of thoughts that it does not show among them")


class Api:
    """A model behind `url`, such as https://host/v1; `key` is sent as a bearer token, and stands in no message of an error."""

    def __init__(self, url: str, model: str, key: str | None = None) -> None:
        self._url, self._model, self._key = url, model, key
        self._left_out: set[str] = set()
        self._client = httpx.Client(
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            follow_redirects=False,  # the key and the rows go where the spec says, and nowhere else
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, messages: Sequence[Message], most_tokens: int) -> Reply:
        """The answer to a conversation. Transient where another attempt may succeed, UsageError where the server refuses."""
        options = {"temperature": 0.0, "max_tokens": most_tokens}
        while True:
            sent = {name: value for name, value in options.items() if name not in self._left_out}
            began = time.monotonic()
            response = self._post({"model": self._model, "messages": list(messages), **sent})
            seconds = time.monotonic() - began
            refused = next((name for name in sent if response.status_code == 400 and name in response.text), None)
            if refused is None:
                break
            self._left_out.add(refused)
        if response.status_code != 200:
            raise self._refusal(response)
        return self._reply(response, seconds)

    def _post(self, body: dict[str, Any]) -> httpx.Response:
        try:
            return self._client.post(f"{self._url}/chat/completions", json=body)
        except httpx.TransportError as error:
            raise Transient(
                f"{self._url} did not answer: {type(error).__name__}",
                "Check the URL of the api: base, and the network.",
            ) from error

    def _reply(self, response: httpx.Response, seconds: float) -> Reply:
        from contender.data.values import without_surrogates

        try:
            document = response.json()
            text = without_surrogates(document["choices"][0]["message"]["content"] or "")
            usage = document.get("usage") or {}
            tokens = {
                f"{way}_tokens": usage.get(f"{name}_tokens")
                for way, name in (("input", "prompt"), ("output", "completion"))
            }
            return Reply(text=text, seconds=seconds, **tokens)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{self._url}/chat/completions does not answer as an OpenAI-compatible server does",
                "Name the URL that ends before /chat/completions, such as https://host/v1.",
            ) from error

    def _refusal(self, response: httpx.Response) -> Transient | UsageError:
        code, asked = response.status_code, f"{self._url} for the model {self._model!r}"
        if code in TRY_AGAIN or code >= 500:
            return Transient(f"{asked} answered {code}", "It is busy, or limits how much you may ask; ask later.")
        if code in (401, 403):  # what it says may repeat a part of the key
            has = "the key of selection.api_key is not accepted" if self._key else "it wants a key"
            return UsageError(f"{asked} answered {code}: {has}", "Name where its key is: selection.api_key: env:NAME")
        if code == 404:
            return UsageError(
                f"{asked} answered 404", "Check the URL, which ends before /chat/completions, and the model's name."
            )
        said = _said(response)
        said = said.replace(self._key, "…") if self._key else said
        return UsageError(f"{asked} answered {code}: {shorten(said, SHOWN)}", "Ask its provider what it refuses.")


def _said(response: httpx.Response) -> str:
    """What an error's body says, in one line."""
    try:
        found = response.json()
        text = str((found.get("error") or {}).get("message") or found) if isinstance(found, dict) else str(found)
    except (ValueError, AttributeError):
        text = response.text
    return re.sub(r"\s+", " ", text).strip() or "nothing"
