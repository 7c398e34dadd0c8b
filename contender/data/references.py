"""References: what a text may be answered with, where several answers are right. They lie in one column."""

from __future__ import annotations

import json


def references(answer: str) -> list[str]:
    """The texts that an answer column holds: those of a JSON list of texts, else the answer itself."""
    if answer.lstrip().startswith("["):
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            return [answer]
        if isinstance(found, list) and found and all(isinstance(text, str) for text in found):
            return found
    return [answer]
