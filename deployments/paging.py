"""Everything that a Prefect server has of what is asked for: it gives at most a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

PAGE = 200  # Prefect's largest


def everything(read: Callable[..., list[T]], **wanted: Any) -> list[T]:
    """All pages of one of the client's read_…; `wanted`: its filters and order."""
    found: list[T] = []
    while len(page := read(limit=PAGE, offset=len(found), **wanted)) == PAGE:
        found += page
    return found + page
