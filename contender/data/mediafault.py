"""Why a picture or a sound cannot be used."""

from __future__ import annotations

from contender.text import shorten


class Unusable(Exception):
    """One file's fault, in a few words that follow its name; whoever reads many sets it apart and goes on."""


def first_words(error: Exception) -> str:
    """What another library says, in one short line."""
    return shorten(next(iter(str(error).splitlines()), "") or type(error).__name__, 120)
