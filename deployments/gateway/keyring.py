"""The secrets of the pipelines: read where they are used, kept for seconds, so that a rotated file is noticed and no restart needed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contender.errors import UsageError
from contender.secretref import resolve
from deployments.gateway.directory import Hook
from deployments.gateway.watching import tell_operator

KEPT_SECONDS = 5.0
PREFIX = b"whsec_"


@dataclass(frozen=True)
class Secrets:
    """Those that could be read, and whether another could not: then a delivery that none of these opens may still be a good one."""

    values: tuple[bytes, ...]
    incomplete: bool


class Keyring:
    """Secrets by pipeline and reference."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, Hook, Secrets]] = {}

    async def of(self, hook: Hook) -> Secrets:
        """The pipeline's secrets, not older than a few seconds."""
        kept = self._kept.get(hook.name)
        if kept is not None and kept[1] is hook and self._clock() - kept[0] < KEPT_SECONDS:
            return kept[2]
        found = await asyncio.to_thread(_read, hook)  # a file may lie on a slow disk
        self._kept[hook.name] = (self._clock(), hook, found)
        return found


def _read(hook: Hook) -> Secrets:
    values = []
    for number, reference in enumerate(hook.webhook.secrets):
        try:
            values.append(_secret(reference, hook, f"triggers.webhook.secrets[{number}]"))
        except UsageError as error:
            tell_operator("a secret cannot be used", pipeline=hook.name, why=error.what)
    return Secrets(tuple(values), incomplete=len(values) < len(hook.webhook.secrets))


def _secret(reference: str, hook: Hook, what: str) -> bytes:
    """One secret, as its scheme takes it; UsageError, without the value, where it is not there or cannot be one."""
    value = resolve(reference, Path(hook.pipeline.folder), what)
    if reference.startswith("file:"):
        value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise UsageError(f"{what} is {reference}, which is empty")
    if hook.webhook.scheme == "standard":
        return _decoded(
            value, f"{what} is {reference}, which is not base64, as Standard Webhooks wants it after {PREFIX.decode()}"
        )
    if hook.webhook.scheme == "basic" and b":" not in value:
        raise UsageError(f"{what} is {reference}, which is not of the form user:password")
    return value


def _decoded(value: bytes, fault: str) -> bytes:
    """The key of a Standard Webhooks secret. Its library would skip what is not base64, and sign with what is left."""
    text = value.removeprefix(PREFIX).rstrip(b"=")
    try:
        decoded = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(fault) from None
    if not decoded:
        raise UsageError(fault)
    return decoded
