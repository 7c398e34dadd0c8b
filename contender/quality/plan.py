"""What the gate will run: each expectation of a suite, its parameters filled in, with its scope and its columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from contender.errors import UsageError, known
from contender.quality.conditions import of_one_row, query_of
from contender.quality.exact import exact_in_sqlite
from contender.quality.scopes import PARAMETERS, SCOPES, Scope, columns_of
from contender.records import Severity

PARAMETER = "$PARAMETER"
NAMED = 8  # columns of one expectation that are named one by one


@dataclass(frozen=True, eq=False)
class Planned:
    """One expectation, ready to run; `query` is its row condition, empty where it looks at every row."""

    number: int
    type: str
    kwargs: Mapping[str, Any]
    severity: Severity
    scope: Scope
    query: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    @property
    def column(self) -> str | None:
        named = [name for name in columns_of(self.kwargs) if isinstance(name, str)]
        return (", ".join(named) or None) if len(named) <= NAMED else f"{len(named)} columns"

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


def make_plan(
    suite: Mapping[str, Any],
    parameters: Mapping[str, Any | None],
    columns: Iterable[str],
    types: Mapping[str, pa.DataType] | None = None,
) -> Plan:
    """Fills the parameters in and settles how each expectation runs; `types` gives the columns that are not text.

    UsageError names a column or a parameter that there is not, and a row condition that is none, all faults at once.
    """
    planned, skipped, faults = [], [], []
    available, own = list(columns), suite.get("suite_parameters") or {}
    for number, expectation in enumerate(suite["expectations"]):
        named = sorted(set(_parameters_in(expectation.get("kwargs") or {})))
        missing = [name for name in named if name in PARAMETERS and parameters.get(name) is None]
        kwargs = _filled(expectation.get("kwargs") or {}, {} if missing else {**own, **parameters})
        found = [known(PARAMETER, name, [*PARAMETERS, *own]) for name in named if name not in {*PARAMETERS, *own}]
        found += _faults(expectation["type"], kwargs, available)
        if found:
            faults += [f"expectation {number + 1}, {expectation['type']}: {fault}" for fault in found]
        elif missing:
            why = f"there is no {' and no '.join(missing)} yet"
            skipped.append((_planned(number, expectation, kwargs, {}), why))
        else:
            planned.append(_planned(number, expectation, kwargs, types or {}))
    if faults:
        raise UsageError(
            "the suite does not fit the data: " + "; ".join(faults), "Correct quality.suite or data.columns."
        )
    return Plan(tuple(planned), tuple(skipped))


def scope_of(kind: str, kwargs: Mapping[str, Any], query: str, types: Mapping[str, pa.DataType]) -> Scope:
    """How an expectation runs: as its name says, or in memory where its condition or its columns do not allow that."""
    scope = SCOPES[kind]
    if scope in (Scope.ROW, Scope.TABLE) and not of_one_row(query):
        return Scope.MEMORY
    if scope is Scope.TABLE and not exact_in_sqlite(kind, kwargs, types):
        return Scope.MEMORY
    return scope


def _planned(
    number: int, expectation: Mapping[str, Any], kwargs: Mapping[str, Any], types: Mapping[str, pa.DataType]
) -> Planned:
    query = query_of(kwargs)
    return Planned(
        number=number,
        type=expectation["type"],
        kwargs=kwargs,
        severity=expectation.get("severity", "critical"),
        scope=scope_of(expectation["type"], kwargs, query, types),
        query=query,
        meta=expectation.get("meta") or {},
        description=str(expectation.get("description") or ""),
    )


def _faults(kind: str, kwargs: Mapping[str, Any], available: list[str]) -> Iterator[str]:
    try:
        query_of(kwargs)
    except Exception as error:  # noqa: BLE001 - GX's parser and pydantic raise kinds of their own
        yield f"row_condition: {' '.join(str(error).split())}"
    if SCOPES[kind] is Scope.SCHEMA:
        return  # whether a column is there is the question that it asks
    for name in columns_of(kwargs):
        if name is not None and name not in available:
            yield known("column", name, available)


def needed_columns(planned: Iterable[Planned], available: Iterable[str]) -> list[str]:
    """The columns of the view that these expectations and their row conditions read."""
    items = list(planned)
    wanted = {name for item in items for name in columns_of(item.kwargs)}
    # A query names a column as it is, between backticks or not; part of a longer word is a column too many at worst.
    return [name for name in available if name in wanted or any(name in item.query for item in items)]


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
