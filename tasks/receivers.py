"""From a reference to a Prefect notification block, and one message through it.

What the libraries below say holds URLs, and a webhook's URL is its secret: their log lines are kept from every log, and why
something was not sent is told in words of ours. They follow redirects by default, which would take the message to another host.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from prefect.blocks.abstract import NotificationBlock, NotificationError
from prefect.blocks.core import Block
from prefect.blocks.notifications import (
    AppriseNotificationBlock,
    CustomWebhookNotificationBlock,
    MicrosoftTeamsWebhook,
    SlackWebhook,
)
from prefect.blocks.system import Secret
from pydantic import SecretStr

from contender.errors import UsageError
from contender.notifications import resolved_url
from contender.reporting.message import Message
from contender.secretref import BLOCK_FORM, is_block

REQUEST_SECONDS = (
    10.0  # of a request of ours; Apprise waits 4 s to connect and 4 s for an answer, 15 s for a mail server
)
QUICKLY = 3.0  # seconds in which Apprise can say that it found nobody, but not that nobody answered
SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
# Apprise's words for the colour or the sign beside a message.
TONES: dict[str, Literal["info", "success", "warning", "failure"]] = {
    "promoted": "success",
    "rejected": "warning",
    "budget": "warning",
    "failed": "failure",
}
TEAMS_PATH = re.compile(r"/workflows/[^/]+/triggers/manual/paths/invoke/?$")
TOLD_BY = ("apprise", "httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "urllib3.connectionpool")


@dataclass(frozen=True)
class NotSent:
    """Why a receiver was not told; `again`: it surely has nothing yet, and may have it later."""

    why: str
    again: bool = False


class _Heard(logging.Filter):
    """Takes what is logged in a thread that sends; every other thread's lines go on."""

    def __init__(self) -> None:
        super().__init__()
        self._here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        lines: list[str] | None = getattr(self._here, "lines", None)
        if lines is not None:
            lines.append(record.getMessage())
        return lines is None

    def begin(self) -> list[str]:
        lines: list[str] = []
        self._here.lines = lines
        return lines


_heard = _Heard()
for _name in TOLD_BY:
    logging.getLogger(_name).addFilter(_heard)


def send(reference: str, folder: Path, message: Message) -> NotSent | None:
    """Sends one message to one receiver, once, in a thread that does nothing else; None where it was taken."""
    said, began = _heard.begin(), time.monotonic()
    try:
        block = block_of(reference, folder, message)
        began = time.monotonic()
        with block.raise_on_failure():
            sent: Any = block.notify(body=message.body, subject=message.title)
            if inspect.isawaitable(sent):
                asyncio.run(_awaited(sent))
    except UsageError as error:
        return NotSent(error.what)
    except NotificationError:
        return _refused(said, time.monotonic() - began)
    except Exception as error:  # noqa: BLE001 - a block may be anybody's; no receiver ends a run
        return _failed(error)
    return None


async def _awaited(sent: Any) -> None:
    await sent


def block_of(reference: str, folder: Path, message: Message) -> NotificationBlock:
    """The block that a reference names, or the one for the URL that it holds; UsageError, without the URL, where there is none."""
    if not is_block(reference):
        return block_for(resolved_url(reference, folder), reference, message)
    try:
        block: Any = Block.load(reference.removeprefix("block:"))
    except ValueError as error:  # pydantic's too, which would show what the block holds
        gone = "Unable to find" in str(error)
        what = "which this Prefect server does not have" if gone else "which cannot be loaded"
        raise UsageError(f"notify.to is {reference}, {what}", "Make it in the UI, under Blocks.") from None
    if isinstance(block, Secret):
        return block_for(str(block.get()), reference, message)
    if not isinstance(block, NotificationBlock):
        raise UsageError(f"notify.to is {reference}, which is no notification block", f"Allowed: {BLOCK_FORM}.")
    return _careful(block)


def block_for(url: str, reference: str, message: Message) -> NotificationBlock:
    """Prefect's block for a URL: Slack's and Teams' webhooks, what else Apprise knows, and every other http(s) URL."""
    wrong = UsageError(
        f"notify.to is {reference}, which holds no URL that can be told",
        "Allowed: http:// and https://, and those of Apprise, such as mailtos:// and slack://",
    )
    secret, tone = SecretStr(url), TONES.get(message.facts.get("event", ""), "info")
    try:
        parts = urlsplit(url)
        web = parts.scheme in ("http", "https")
        if web and parts.hostname in SLACK_HOSTS:
            return _careful(SlackWebhook(url=secret, notify_type=tone), wrong)
        if web and TEAMS_PATH.search(parts.path):
            return _careful(MicrosoftTeamsWebhook(url=secret, notify_type=tone), wrong)
        known = AppriseNotificationBlock(url=secret, notify_type=tone)
        if any(_servers(known)) or not web or not parts.hostname:
            return _careful(known, wrong)
        return _webhook(url, message)
    except UsageError:
        raise
    except Exception:  # noqa: BLE001 - whatever it says, the URL would be in it
        raise wrong from None


def _webhook(url: str, message: Message) -> NotificationBlock:
    """A URL of somebody's own gets JSON: `text` as Slack-compatible servers take it, and each part by its name."""
    return CustomWebhookNotificationBlock(
        name="contender",
        url=url,
        json_data={"text": "{{subject}}\n\n{{body}}", "title": "{{subject}}", "body": "{{body}}"} | message.facts,
        timeout=REQUEST_SECONDS,
    )


def _careful(block: Any, wrong: UsageError | None = None) -> NotificationBlock:
    """The block, which takes messages for the plain text that they are and follows no redirect; `wrong` where it has nobody to send to.

    Prefect's blocks do not say what format a body has, and Apprise then puts it into a mail's HTML as it is. Text that it makes HTML
    of has only spaces that break no line.
    """
    from apprise import NotifyFormat  # a second, for those who want to be told

    client = getattr(block, "_apprise_client", None)
    if wrong is not None and not any(_servers(block)):
        raise wrong
    if client is not None:
        client.asset.body_format = NotifyFormat.TEXT
        client.asset.http_redirects = False  # of servers that a block makes anew for each message
        for server in _servers(block):
            server.redirects = False
            if server.notify_format == NotifyFormat.HTML:
                server.notify_format = NotifyFormat.TEXT
    made: NotificationBlock = block
    return made


def _servers(block: Any) -> Iterator[Any]:
    return iter(getattr(block, "_apprise_client", ()))


def _refused(said: list[str], seconds: float) -> NotSent:
    """From what Apprise logged: it gives no more than that something failed."""
    status = re.search(r"error=(\d{3})\b", "\n".join(said))
    if status:
        return _answered(int(status[1]))
    if any("onnection error" in line for line in said):
        return NotSent("it could not be reached, or did not answer in time", again=seconds < QUICKLY)
    return NotSent("it did not take the message")


def _failed(error: Exception) -> NotSent:
    if isinstance(error, httpx.HTTPStatusError):
        return _answered(error.response.status_code)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        if "CERTIFICATE_VERIFY_FAILED" in str(error) or isinstance(error.__cause__, ssl.SSLError):
            return NotSent("its certificate is not trusted")
        return NotSent("it could not be reached", again=True)
    if isinstance(error, httpx.TimeoutException):
        return NotSent(f"it did not answer within {REQUEST_SECONDS:g} s")
    if isinstance(error, httpx.TransportError):
        return NotSent("the connection broke before it answered")
    return NotSent(f"its block failed with {type(error).__name__}")


def _answered(status: int) -> NotSent:
    if 300 <= status < 400:
        return NotSent(f"it answered {status}: it is at another URL now")
    return NotSent(f"it answered {status}", again=status == 429 or status >= 500)
