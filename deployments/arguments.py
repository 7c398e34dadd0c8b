"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from contender.errors import UsageError
from contender.specrules import duration

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def public_key_of(options: argparse.Namespace) -> Ed25519PublicKey | None:
    """The key that must have signed a release: of `--public-key` or CONTENDER_PUBLIC_KEY, None where neither is given."""
    from contender.registry.signing import public_key

    place = options.public_key or os.environ.get("CONTENDER_PUBLIC_KEY")
    if not place:
        return None
    try:
        return public_key(Path(place).expanduser().read_bytes())
    except OSError as error:
        raise UsageError(f"the public key {place} cannot be read: {error.strerror}", "Name a PEM file.") from error


def age(text: str) -> float:
    """Seconds, from `--older-than`: a number of them, or text such as 12h or 7d."""
    try:
        return float(duration(text, bare=True))
    except ValueError as error:
        raise UsageError(f"--older-than {text!r} {error}", "For example: --older-than 12h") from None
