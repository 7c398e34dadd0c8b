"""One Great Expectations result out of those of many chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from contender.quality.engine import Result, exception_of

# As many as GX keeps: values in `unexpected_list`, and of each `partial_…` list.
MAX_LISTED = 200
MAX_PARTIAL = 20

_LISTS = ("unexpected_list", "unexpected_index_list")


def lighten(result: Result) -> Result:
    """The result without the list of every bad row, once those are marked: it would grow with the data."""
    for name in _LISTS:
        if isinstance(result.result.get(name), list):
            result.result[name] = result.result[name][:MAX_LISTED]
    result.result.pop("unexpected_index_query", None)
    return result


def merge(results: Sequence[Result], mostly: float = 1.0) -> Result:
    """What GX says of all the rows, given what it said of each chunk of them; the first result is changed and returned.

    The rule for success is GX's: the share of rows with a value that meet the expectation is at least `mostly`, and a column
    without any value meets it.
    """
    merged = results[0]
    broken = next((result for result in results if exception_of(result)), None)
    if broken is not None:
        return broken
    if len(results) == 1:
        return lighten(merged)
    total = {
        name: sum(int(part.result.get(name) or 0) for part in results) for name in ("element_count", "unexpected_count")
    }
    has_missing = "missing_count" in merged.result
    missing = sum(int(part.result.get("missing_count") or 0) for part in results)
    present = total["element_count"] - missing
    values = _joined(results, "unexpected_list", MAX_LISTED)
    merged.success = not present or (present - total["unexpected_count"]) / present >= mostly
    merged.result.update(
        **total,
        **_percents(total["element_count"], missing, total["unexpected_count"], has_missing),
        unexpected_list=values,
        partial_unexpected_list=values[:MAX_PARTIAL],
        partial_unexpected_counts=_counts(values),
        unexpected_index_list=_joined(results, "unexpected_index_list", MAX_LISTED),
        partial_unexpected_index_list=_joined(results, "partial_unexpected_index_list", MAX_PARTIAL),
    )
    return merged


def recount(result: Result, unexpected: int, mostly: float) -> None:
    """Corrects a result to another number of rows that fail."""
    elements, missing = int(result.result.get("element_count") or 0), int(result.result.get("missing_count") or 0)
    present = elements - missing
    result.success = not present or (present - unexpected) / present >= mostly
    result.result.update(
        unexpected_count=unexpected, **_percents(elements, missing, unexpected, "missing_count" in result.result)
    )


def _joined(results: Sequence[Result], name: str, most: int) -> list[Any]:
    joined: list[Any] = []
    for result in results:
        joined += (result.result.get(name) or [])[: most - len(joined)]
    return joined


def _percents(elements: int, missing: int, unexpected: int, has_missing: bool) -> dict[str, Any]:
    of_all = unexpected / elements * 100 if elements else None
    if not has_missing:
        return {"unexpected_percent": of_all}
    of_present = unexpected / (elements - missing) * 100 if elements > missing else None
    return {
        "missing_count": missing,
        "missing_percent": missing / elements * 100 if elements else None,
        "unexpected_percent": of_present,
        "unexpected_percent_nonmissing": of_present,
        "unexpected_percent_total": of_all,
    }


def _counts(values: list[Any]) -> list[dict[str, Any]]:
    try:
        counted = Counter(tuple(value.values()) if isinstance(value, dict) else value for value in values)
        common = sorted(counted.most_common(MAX_PARTIAL), key=lambda pair: (-pair[1], pair[0]))
    except TypeError:  # values that cannot be hashed or ordered
        return []
    return [{"value": value, "count": count} for value, count in common]
