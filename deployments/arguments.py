"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from contender.errors import UsageError
from contender.specrules import duration
from contender.text import visible

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


def actor_of(options: argparse.Namespace, default: str = "") -> str:
    """Who asks, as they say themselves; a login name would be one that they did not choose to publish.

    Bytes that are no UTF-8 and all that does not show are escapes: the registry, where it is kept, is read by everybody.
    """
    return visible(str(getattr(options, "actor", None) or os.environ.get("CONTENDER_ACTOR") or default))


def age(text: str) -> float:
    """Seconds, from `--older-than`: a number of them, or text such as 12h or 7d."""
    try:
        return float(duration(text, bare=True))
    except ValueError as error:
        raise UsageError(f"--older-than {text!r} {error}", "For example: --older-than 12h") from None


def check_page(page: Path, option: str) -> None:
    """UsageError where a page cannot be written to this place: before long work, of which it is to tell."""
    from contender.files import is_folder

    if is_folder(page) or not is_folder(page.absolute().parent):
        fault = "it is a folder" if is_folder(page) else f"there is no folder {page.absolute().parent}"
        raise UsageError(f"cannot write to {page}: {fault}", f"Give another {option} FILE.")


def write_page(page: Path, html: bytes, option: str) -> None:
    """Writes a page where `option` of the command line says; UsageError where that cannot be."""
    from contender.files import write_durably
    from contender.workspace import translated_os_errors

    check_page(page, option)
    advice = f"Give another {option} FILE."
    try:
        with translated_os_errors(page, advice):
            write_durably(page, html)
    except OSError as error:
        raise UsageError(f"cannot write to {page}: {error.strerror}", advice) from error
