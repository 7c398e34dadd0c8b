"""References to secrets: `env:NAME` and `file:/path`. Their values are read where they are used, and stand nowhere else.

A receiver of notifications may also be `block:TYPE/NAME`: a block of the Prefect server, which tasks/receivers.py loads.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from contender.errors import UsageError
from contender.files import expanded

FORMS = "env:NAME or file:/path"
REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")
BLOCK_FORM = "block:TYPE/NAME"
BLOCK = re.compile(r"block:[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*")


def check_reference(text: str) -> str:
    """The reference itself; ValueError, which does not repeat a text that may be the secret, where it is none."""
    if not REFERENCE.fullmatch(text):
        raise ValueError(
            f"must name where the secret is ({FORMS}), never hold it; credentials do not belong into a spec"
        )
    return text


def check_receiver(text: Any) -> Any:
    """The reference itself; ValueError, which does not repeat what may hold the secret, where it is none."""
    if not isinstance(text, str) or not (BLOCK.fullmatch(text) or REFERENCE.fullmatch(text)):
        raise ValueError(
            f"must name where the receiver's URL is ({BLOCK_FORM}, {FORMS}), never hold it: a webhook's URL is a secret; "
            "credentials do not belong into a spec"
        )
    return text


def is_block(reference: str) -> bool:
    return reference.startswith("block:")


def resolve(reference: str, folder: Path, what: str) -> bytes:
    """The secret; a relative file is one of `folder`. UsageError, without the value, where it is not there."""
    kind, _, rest = reference.partition(":")
    if kind == "env":
        found = os.environ.get(rest)
        if not found:
            raise UsageError(f"{what} is {reference}, and {rest} is not set", f"Set {rest}, or name another: {FORMS}.")
        return found.encode()
    path = folder / expanded(rest)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{what} is {reference}, and {path} cannot be read: {error.strerror}", f"Allowed: {FORMS}."
        ) from error
