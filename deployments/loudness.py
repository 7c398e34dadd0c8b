"""How much a command tells: of `--quiet`, `--verbose` and `--debug`. Imports nothing heavy: every command reads it."""

from __future__ import annotations

import argparse
from enum import IntEnum

from contender.errors import UsageError


class Loudness(IntEnum):
    """How much a command tells on stderr beside its result."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2
    DEBUG = 3  # all of it, as lines: nothing is redrawn


def loudness(options: argparse.Namespace) -> Loudness:
    """Of `--quiet`, `--verbose` and `--debug`, whichever of them the command takes."""
    given = (("debug", Loudness.DEBUG), ("verbose", Loudness.VERBOSE), ("quiet", Loudness.QUIET))
    found = [(name, level) for name, level in given if getattr(options, name, False)]
    if len(found) > 1 and found[-1][0] == "quiet":
        raise UsageError(f"--quiet and --{found[0][0]} contradict each other", "Give one of them.")
    return found[0][1] if found else Loudness.NORMAL
