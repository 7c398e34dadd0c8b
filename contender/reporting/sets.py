"""What of the held-out sets' slices and of the rules stands on the page: enough to look at, however many there are."""

from __future__ import annotations

from dataclasses import dataclass

from contender.records import RuleResult, SetEvaluation, Verdict
from contender.reporting.data import ReportInput

TABLES_SHOWN = 20  # slice columns of all sets
VALUES_SHOWN = 400  # of all tables together
FEWEST_VALUES = 10  # of a table
RULES_SHOWN = 100


@dataclass(frozen=True)
class SliceRow:
    """One value of a slice column; `before`: the champion's metrics on the same rows."""

    value: str
    rows: int
    metrics: dict[str, float]
    before: dict[str, float] | None


@dataclass(frozen=True)
class SliceTable:
    """The values of one column with most rows; `more`: how many others the evaluation holds."""

    set: str
    column: str
    rows: list[SliceRow]
    of: int  # rows of the set
    more: int
    decides: bool


@dataclass(frozen=True)
class ShownRules:
    """Rules that decided, failed ones first, and those that were only reported; `more` and `more_reported` are left out."""

    decided: list[RuleResult]
    more: int
    reported: list[RuleResult]
    more_reported: int


def slice_tables(data: ReportInput) -> tuple[list[SliceTable], int]:
    """Tables of the first slice columns, and how many there are beside them."""
    found = [(held, column) for held in data.evaluation.challenger_sets for column in held.slices]
    most = max(FEWEST_VALUES, VALUES_SHOWN // max(len(found), 1))
    return [_table(data, held, column, most) for held, column in found[:TABLES_SHOWN]], max(
        0, len(found) - TABLES_SHOWN
    )


def _table(data: ReportInput, held: SetEvaluation, column: str, most: int) -> SliceTable:
    other = data.champion_on(held.set)
    before = other.slices.get(column, {}) if other else {}
    values = held.slices[column]
    rows = [
        SliceRow(value, int(found["rows"]), found, before.get(value)) for value, found in list(values.items())[:most]
    ]
    return SliceTable(held.set, column, rows, held.rows, len(values) - len(rows), held.set == data.on)


def rules_shown(verdict: Verdict) -> ShownRules:
    decided = [rule for rule in verdict.rules if rule.outcome != "reported"]
    if len(decided) > RULES_SHOWN:
        decided.sort(key=lambda rule: ["failed", "undecided", "passed"].index(rule.outcome))
    reported = [rule for rule in verdict.rules if rule.outcome == "reported"]
    return ShownRules(
        decided[:RULES_SHOWN],
        max(0, len(decided) - RULES_SHOWN),
        reported[:RULES_SHOWN],
        max(0, len(reported) - RULES_SHOWN),
    )
