"""A search around what is live: the champion's options as a trial, and ranges that are narrowed around its values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from contender.records import Record
from contender.searchspec import ROUNDING, Parameter, Search, Value, Values

PART = 3  # of a range, on its scale, one in so many is searched


class Around(Record):
    """The champion that a search began from: its values of keys of the space, and what is left of the ranges."""

    release: str
    values: dict[str, Value]
    ranges: dict[str, tuple[float, float]]
    tried: bool  # whether it is a trial of its own: not where the spec as it stands says the same

    @property
    def text(self) -> str:
        found = [f"{key} {low:.3g} to {high:.3g}" for key, (low, high) in sorted(self.ranges.items())]
        return f"around champion {self.release}: {', '.join(found) or 'no range is narrower for it'}"


class SearchAround(Search):
    """A search that a champion was found for; no spec says this, a run makes it of one."""

    found: Around

    @property
    def given(self) -> tuple[Values, ...]:
        """The spec as it stands, and the champion's options."""
        return ({}, self.found.values) if self.found.tried else ({},)

    def combinations(self) -> list[dict[str, Value]]:
        """Of a grid, without what is tried already."""
        return [one for one in super().combinations() if one not in self.given]


def search_around(search: Search, release: str, options: Values, tried: bool) -> SearchAround | None:
    """The search around a release with these options, dotted key → value; None where it has none that the space allows."""
    values = dict(_allowed(search, options))
    if not values:
        return None
    narrow = {key: narrowed(search.space[key], value) for key, value in values.items()}
    ranges = {key: one.ends for key, one in narrow.items() if one.values is None}
    if search.method == "grid":
        narrow = {key: _listed(search.space[key], one) for key, one in narrow.items()}
    plain = {name: getattr(search, name) for name in Search.model_fields} | {"space": search.space | narrow}
    return SearchAround(**plain, found=Around(release=release, values=values, ranges=ranges, tried=tried))


def options_of(lineage: Mapping[str, Any]) -> dict[str, Value]:
    """Dotted key → value that a release was trained with; where its spec said auto, what that came to."""
    spec = (lineage.get("spec") or {}).get("model") or {}
    found = {f"train.{name}": value for name, value in (lineage.get("train") or {}).items()}
    found |= {f"model.lora.{name}": value for name, value in (spec.get("lora") or {}).items()}
    found["model.method"] = lineage.get("method")
    return {key: value for key, value in found.items() if isinstance(value, bool | int | float | str)}


def narrowed(parameter: Parameter, value: Value) -> Parameter:
    """A third of a range, on its scale, around a value of it and clipped to it; values that are listed stay.

    Of whole numbers and of steps at least the next ones at both sides are left.
    """
    if parameter.values is not None:
        return parameter
    low, high = parameter.ends
    at, step = cast(float, value), parameter.step or (1 if parameter.whole else None)
    if parameter.scale == "log":
        factor = (high / low) ** (0.5 / PART)
        ends = at / factor, at * factor
    else:
        reach = (high - low) * 0.5 / PART
        ends = at - reach, at + reach
    if step is not None:
        down, up = (max(1, math.floor(abs(end - at) / step + ROUNDING)) for end in ends)
        ends = at - down * step, at + up * step
    least, most = max(low, ends[0]), min(high, ends[1])
    return parameter.model_copy(update={"low": least, "high": most})


def _listed(parameter: Parameter, part: Parameter) -> Parameter:
    """What a grid takes of a part of a range: the range's own values, to the last digit."""
    if part.values is not None:
        return part
    low, high = part.ends
    room = ROUNDING * (parameter.step or 1)
    kept = tuple(one for one in parameter.listed or () if low - room <= cast(float, one) <= high + room)
    return Parameter(values=kept, when=parameter.when)


def _allowed(search: Search, options: Values) -> Iterator[tuple[str, Value]]:
    """The options that lie in the space, and matter beside each other."""
    found: dict[str, Value] = {}
    for key, parameter in search.ordered:
        if key in options and parameter.active(found):
            value = _inside(parameter, options[key])
            if value is not None:
                found[key] = value
                yield key, value


def _inside(parameter: Parameter, value: Value) -> Value | None:
    """The value as the parameter writes it; None where it is none of it."""
    if parameter.values is not None:
        return next(
            (one for one in parameter.values if one == value and isinstance(one, bool) == isinstance(value, bool)), None
        )
    low, high = parameter.ends
    if isinstance(value, str | bool) or not low <= value <= high:
        return None
    if parameter.step is not None:
        near = min(cast(tuple[float, ...], parameter.listed), key=lambda one: abs(one - value))
        return near if abs(near - value) <= ROUNDING * parameter.step else None
    if parameter.whole:
        return int(value) if value == int(value) else None
    return float(value)
