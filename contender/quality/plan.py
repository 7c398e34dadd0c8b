"""What the gate will run: each expectation of a suite, its parameters filled in, with its scope and its columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from contender.errors import UsageError, known
from contender.quality.scopes import SCOPES, Scope
from contender.records import Severity

PARAMETER = "$PARAMETER"
PARAMETERS = ("reference_label_shares", "reference_labels")
_COLUMN_KEYS = ("column", "column_A", "column_B", "column_list")


@dataclass(frozen=True, eq=False)
class Planned:
    """One expectation, ready to run."""

    number: int
    type: str
    kwargs: Mapping[str, Any]
    severity: Severity
    meta: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    @property
    def scope(self) -> Scope:
        return SCOPES[self.type]

    @property
    def column(self) -> str | None:
        named = [name for name in columns_of(self.kwargs) if isinstance(name, str)]
        return ", ".join(named) or None

    @property
    def reason(self) -> str:
        """What a person calls a row that fails it: `meta.reason`, else the expectation's own name."""
        given = self.meta.get("reason")
        if isinstance(given, str) and given:
            return given
        words = self.type.removeprefix("expect_").replace("_", " ")
        return f"{self.column}: {words}" if self.column else words

    @property
    def name(self) -> str:
        """What the quarantine file calls it."""
        return f"{self.type}({self.column})" if self.column else self.type


@dataclass(frozen=True)
class Plan:
    """The expectations that apply, and those that do not, each with what it lacks."""

    planned: tuple[Planned, ...]
    not_applicable: tuple[tuple[Planned, str], ...]

    def of(self, *scopes: Scope) -> list[Planned]:
        return [item for item in self.planned if item.scope in scopes]


def make_plan(suite: Mapping[str, Any], parameters: Mapping[str, Any | None], columns: Iterable[str]) -> Plan:
    """Fills the parameters in. UsageError names a column or a parameter that there is not, all faults at once."""
    planned, skipped, faults = [], [], []
    available = list(columns)
    for number, expectation in enumerate(suite["expectations"]):
        lacking = sorted(set(_parameters_in(expectation.get("kwargs") or {})))
        faults += [
            f"expectation {number + 1}, {expectation['type']}: {fault}"
            for fault in _faults(expectation, lacking, available)
        ]
        missing = [name for name in lacking if parameters.get(name) is None]
        item = _planned(number, expectation, {} if missing else parameters)
        if missing:
            skipped.append((item, f"there is no {' and no '.join(missing)} yet"))
        else:
            planned.append(item)
    if faults:
        raise UsageError(
            "the suite does not fit the data: " + "; ".join(faults), "Correct quality.suite or data.columns."
        )
    return Plan(tuple(planned), tuple(skipped))


def _planned(number: int, expectation: Mapping[str, Any], parameters: Mapping[str, Any]) -> Planned:
    return Planned(
        number=number,
        type=expectation["type"],
        kwargs=_filled(expectation.get("kwargs") or {}, parameters),
        severity=expectation.get("severity", "critical"),
        meta=expectation.get("meta") or {},
        description=str(expectation.get("description") or ""),
    )


def _faults(expectation: Mapping[str, Any], parameters: list[str], available: list[str]) -> Iterator[str]:
    for name in parameters:
        if name not in PARAMETERS:
            yield known(PARAMETER, name, PARAMETERS)
    if SCOPES[expectation["type"]] is Scope.SCHEMA:
        return  # whether a column is there is the question that it asks
    for name in columns_of(expectation.get("kwargs") or {}):
        if name not in available:
            yield known("column", name, available)


def columns_of(kwargs: Mapping[str, Any]) -> list[str]:
    """The columns that an expectation looks at, its row condition's left out."""
    names: list[str] = []
    for key in _COLUMN_KEYS:
        value = kwargs.get(key)
        names += value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return names


def needed_columns(planned: Iterable[Planned], available: Iterable[str]) -> list[str]:
    """The columns of the view that these expectations read; all where a row condition may name any."""
    everything = list(available)
    items = list(planned)
    if any(item.kwargs.get("row_condition") for item in items):
        return everything
    wanted = {name for item in items for name in columns_of(item.kwargs)}
    return [name for name in everything if name in wanted]


def _parameters_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if PARAMETER in value:
            yield str(value[PARAMETER])
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _parameters_in(item)


def _filled(value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        if PARAMETER in value:
            return parameters.get(str(value[PARAMETER]))
        return {key: _filled(item, parameters) for key, item in value.items()}
    return [_filled(item, parameters) for item in value] if isinstance(value, list) else value
