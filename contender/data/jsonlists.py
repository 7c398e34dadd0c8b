"""Lists of text in JSON, as the cells of a row file hold the words of a sentence and their tags."""

from __future__ import annotations

import json
from typing import Any


def texts_of(value: Any) -> list[str] | None:
    """The texts that a cell lists; None where it is no list of text."""
    try:
        texts = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return None
    return texts if isinstance(texts, list) and all(isinstance(text, str) for text in texts) else None
