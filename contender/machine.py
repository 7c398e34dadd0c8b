"""What belongs to this machine and user rather than to a workspace: measured once, and everything in it may be removed."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`CONTENDER_CACHE`, else `contender` in the user's cache folder (XDG_CACHE_HOME, ~/.cache); it may not be there yet."""
    named = os.environ.get("CONTENDER_CACHE")
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named or f"{root}/contender").expanduser().absolute()
