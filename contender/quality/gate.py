"""The quality gate: a suite over the rows of a snapshot, in bounded memory.

Expectations about single rows run per chunk and are merged into one Great Expectations result; those about a whole column run once,
in SQLite; rows that fail a critical one are quarantined. The gate says whether the snapshot passes and why; acting is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from great_expectations.core import ExpectationSuite
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.core.run_identifier import RunIdentifier

from contender.quality.docs import write_docs
from contender.quality.engine import build_suite
from contender.quality.plan import Plan, make_plan
from contender.quality.report import make_report, quarantine
from contender.quality.rows import open_row_file
from contender.quality.running import Limits, Ran, run
from contender.records import QualityReport

CHUNK_ROWS = 50_000


def check(
    rows: Path,
    suite: Mapping[str, Any],
    columns: Mapping[str, str],
    out: Path,
    *,
    suite_name: str,
    bad_rows: Literal["quarantine", "stop"],
    max_bad_fraction: float,
    in_memory_rows: int = 1_000_000,
    reference_label_shares: Mapping[str, float] | None = None,
    on_rows: Callable[[int], None] | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> QualityReport:
    """Runs `suite` on a row file; leaves admitted.npy, quarantine.csv and data_docs/ in `out`.

    `columns` gives role → column; the suite speaks of roles, and of other columns by their own names. `max_bad_fraction` is the
    share of rows that may be quarantined. Expectations that need `reference_label_shares` (label → share in the champion's
    training data) are reported as not applicable without it. `on_rows` hears the number of rows looked at so far.

    Raises UsageError where the suite cannot run on this data: a column that there is not, kwargs that GX refuses, an expectation
    that needs all rows in memory above `in_memory_rows`. Bad data is a report that did not pass, never an error.
    """
    out.mkdir(parents=True, exist_ok=True)
    row_file = open_row_file(rows, columns)
    others = sorted(set(row_file.names) - row_file.roles)
    plan = make_plan(suite, _parameters(reference_label_shares, others), row_file.names, row_file.types())
    whole = build_suite(suite_name, plan.planned)
    ran = run(plan, row_file, out, Limits(chunk_rows, in_memory_rows), on_rows)
    admitted, shares = quarantine(row_file, ran, out, chunk_rows)
    report = make_report(
        ran,
        plan,
        ran.rows - len(admitted),
        shares,
        suite=suite_name,
        policy=bad_rows,
        max_bad_fraction=max_bad_fraction,
    )
    write_docs(out / "data_docs", whole, _one_result(whole, plan, ran, report), report)
    return report


def _parameters(shares: Mapping[str, float] | None, others: Sequence[str]) -> dict[str, Any]:
    return {
        "other_columns": list(others) or None,
        "reference_label_shares": dict(shares) if shares else None,
        "reference_labels": sorted(shares) if shares else None,
    }


def _one_result(
    suite: ExpectationSuite, plan: Plan, ran: Ran, report: QualityReport
) -> ExpectationSuiteValidationResult:
    """All results as one of Great Expectations' own, for its Data Docs."""
    results = [ran.results[item.number] for item in plan.planned]
    met = sum(bool(result.success) for result in results)
    now = datetime.now(UTC)
    return ExpectationSuiteValidationResult(
        success=report.passed,
        results=results,
        suite_name=suite.name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": met,
            "unsuccessful_expectations": len(results) - met,
            "success_percent": met / len(results) * 100 if results else None,
        },
        meta={
            "run_id": RunIdentifier(run_name="snapshot", run_time=now),
            "validation_time": now,
            "great_expectations_version": suite.meta["great_expectations_version"],
            "active_batch_definition": {
                "datasource_name": "rows",
                "data_connector_name": "",
                "data_asset_name": "snapshot",
                "batch_identifiers": {},
            },
        },
    )
