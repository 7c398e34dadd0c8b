"""Arguments that several commands take."""

from __future__ import annotations

from contender.errors import UsageError
from contender.specrules import duration


def age(text: str) -> float:
    """Seconds, from `--older-than`: a number of them, or text such as 12h or 7d."""
    try:
        return float(duration(text, bare=True))
    except ValueError as error:
        raise UsageError(f"--older-than {text!r} {error}", "For example: --older-than 12h") from None
