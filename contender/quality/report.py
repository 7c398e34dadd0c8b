"""What the gate found, in the words of people: results, counts and reasons, and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from numbers import Number
from pathlib import Path
from string import Template
from typing import Any, Literal

import numpy as np

from contender.data.jsonlists import label_counts
from contender.names import Labels
from contender.quality.engine import Result, exception_of
from contender.quality.plan import Plan, Planned
from contender.quality.quarantine import Quarantine
from contender.quality.rows import RowFile
from contender.quality.running import Ran
from contender.records import ExpectationResult, QualityReport
from contender.text import terminal_safe

TARGETS: dict[str, Labels] = {"label": "one", "labels": "set"}  # roles whose labels are of a closed set
MAX_REASONS = 5
MAX_OBSERVED = 300
# Why stands in an exception, which may quote a row: it stays in the workspace, as rows do.
NOT_EVALUATED = "could not be evaluated: Data Docs say why"


def quarantine(rows: RowFile, ran: Ran, out: Path, chunk_rows: int) -> tuple[np.ndarray, dict[str, float]]:
    """Writes quarantine.csv and admitted.npy; the admitted rows' indices, and the share of each label among them."""
    bad = np.logical_or.reduce(list(ran.failed.values())) if ran.failed else np.zeros(ran.rows, dtype=bool)
    admitted = np.flatnonzero(~bad).astype(np.int64)
    counts: dict[str, int] = {}
    writer = Quarantine(out / "quarantine.csv", rows.schema().names)
    try:
        for start, table in rows.chunks(chunk_rows):
            mask = bad[start : start + table.num_rows]
            if mask.any():
                writer.write(start, table, ran.failed)
            _count_labels(counts, rows, table, mask)
    finally:
        writer.close()
    np.save(out / "admitted.npy", admitted)
    known = sum(counts.values())
    return admitted, {label: count / known for label, count in sorted(counts.items())}


def _count_labels(counts: dict[str, int], rows: RowFile, table: Any, bad: np.ndarray) -> None:
    for role, labels in TARGETS.items():
        if role in rows.roles:
            cells = rows.view(table, [role]).column(role)
            kept = cells.filter(~bad) if bad.any() else cells
            for label, count in label_counts(kept.combine_chunks(), labels).items():
                counts[label] = counts.get(label, 0) + count


def make_report(
    ran: Ran,
    plan: Plan,
    quarantined: int,
    shares: Mapping[str, float],
    *,
    suite: str,
    policy: Literal["quarantine", "stop"],
    max_bad_fraction: float,
) -> QualityReport:
    """The verdict: whole-column criticals hold, rows are left, and bad rows are within what the pipeline allows."""
    by_reason: dict[str, int] = {}
    for item, mask in ran.failed.items():
        by_reason[item.reason] = by_reason.get(item.reason, 0) + int(mask.sum())
    by_reason = dict(sorted(by_reason.items(), key=lambda entry: (-entry[1], entry[0])))
    told = f"{quarantined:,} of {ran.rows:,} rows ({_share(quarantined, ran.rows)}) failed a row expectation"
    rows_stop = _rows_stop(ran.rows, quarantined, told, policy, max_bad_fraction)
    others = _others(ran, plan)
    if rows_stop:
        message = "; ".join([f"{rows_stop}{f': {_listed(by_reason)}' if by_reason else ''}", *others])
    elif others:
        message = "; ".join([*others, *([f"{told}: {_listed(by_reason)}"] if quarantined else [])])
    else:
        message = _passed(ran, plan, quarantined, by_reason)
    results = {item.number: _result(item, ran.results[item.number]) for item in plan.planned}
    results.update({item.number: _skipped(item, why) for item, why in plan.not_applicable})
    return QualityReport(
        suite=suite,
        passed=not rows_stop and not others,
        message=message,
        rows=ran.rows,
        quarantined=quarantined,
        quarantined_by_reason=by_reason,
        results=tuple(results[number] for number in sorted(results)),
        label_shares=dict(shares),
    )


def _rows_stop(rows: int, quarantined: int, told: str, policy: str, max_bad_fraction: float) -> str:
    """Why the rows that failed stop the run; empty where they do not."""
    if rows == 0:
        return "there are no rows"
    if quarantined == rows:
        return f"no row is left: all {rows:,} failed a row expectation"
    if quarantined and policy == "stop":
        return f"{told} and bad_rows is stop"
    # Divided, not multiplied: 29 / 100 is the same float as a person's 0.29, and 0.29 * 100 is less than 29.
    if quarantined / rows > max_bad_fraction:
        return f"{told}, above max_bad_fraction {max_bad_fraction:.1%}"
    return ""


def _passed(ran: Ran, plan: Plan, quarantined: int, by_reason: Mapping[str, int]) -> str:
    said = f"{ran.rows - quarantined:,} of {ran.rows:,} rows passed"
    if quarantined:
        said += f", {quarantined:,} ({_share(quarantined, ran.rows)}) quarantined: {_listed(by_reason)}"
    warned = [_warning(item, ran.results[item.number]) for item in plan.planned if item.severity != "critical"]
    return said + (f"; warnings: {', '.join(filter(None, warned))}" if any(warned) else "")


def _warning(item: Planned, result: Result) -> str:
    """What the sentence says of an expectation that does not stop a run; empty where it was met."""
    if result.success:
        return ""
    return terminal_safe(f"{item.reason} ({NOT_EVALUATED})" if exception_of(result) else item.reason)


def _others(ran: Ran, plan: Plan) -> list[str]:
    """Critical expectations that failed without saying which rows, or that could not be evaluated."""
    said = []
    for item in plan.planned:
        result = ran.results[item.number]
        if item.severity != "critical" or result.success:
            continue
        if exception_of(result):
            said.append(terminal_safe(f"{item.name} {NOT_EVALUATED}"))
        elif item not in ran.failed:
            observed = _observed(item, result)
            told = f" Observed: {observed}." if observed else ""
            said.append(f"{terminal_safe(item.reason)}: {_sentence(item)}{told}")
    return [text.rstrip(".") for text in said]


def _result(item: Planned, result: Result) -> ExpectationResult:
    return ExpectationResult(
        expectation=item.type,
        column=item.column,
        kwargs=_plain(item.kwargs),
        severity=item.severity,
        success=bool(result.success),
        checked=int(result.result.get("element_count") or 0),
        unexpected=int(result.result.get("unexpected_count") or 0),
        observed=NOT_EVALUATED if exception_of(result) else _observed(item, result),
        sentence=_sentence(item),
    )


def _skipped(item: Planned, why: str) -> ExpectationResult:
    return ExpectationResult(
        expectation=item.type,
        column=item.column,
        severity=item.severity,
        success=True,
        applicable=False,
        checked=0,
        observed=f"not applicable: {why}",
        sentence=item.description or item.reason,
    )


def _listed(reasons: Mapping[str, int]) -> str:
    shown = [f"{count:,} {terminal_safe(reason)}" for reason, count in list(reasons.items())[:MAX_REASONS]]
    more = len(reasons) - len(shown)
    return ", ".join(shown) + (f", and {more} more reasons" if more > 0 else "")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0%"


def _observed(item: Planned, result: Result) -> str:
    """What was seen of a whole column. The report leaves the workspace, so it quotes labels and no other value of a row: of other
    columns it has numbers and times. Data Docs and the quarantine file have the rest."""
    value = result.result.get("observed_value")
    if item.column not in (None, "label"):
        value = _figures(value)
    if value is None:
        return ""
    text = ", ".join(f"{key}: {entry}" for key, entry in value.items()) if isinstance(value, dict) else str(value)
    return terminal_safe(text if len(text) <= MAX_OBSERVED else text[:MAX_OBSERVED] + "…")


def _figures(value: Any) -> Any:
    """What of an observed value is no text of a row; None where nothing is. A mapping's own keys are the expectation's words."""
    if isinstance(value, dict):
        return {key: entry for key, entry in value.items() if _is_figure(entry)} or None
    return value if _is_figure(value) else None


def _is_figure(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_figure(entry) for entry in value)
    return isinstance(value, Number | date | np.generic) and not isinstance(value, np.character)


def _sentence(item: Planned) -> str:
    """The suite's own description, else Great Expectations' sentence for it."""
    if item.description:
        return item.description
    from great_expectations.expectations.registry import get_renderer_impl

    from contender.quality.engine import build_suite, quiet

    configuration = build_suite("one", [item]).expectations[0].configuration
    try:
        with quiet():
            _, renderer = get_renderer_impl(item.type, "renderer.prescriptive")
            content = renderer(configuration=configuration)[0].string_template
    except Exception:  # noqa: BLE001 - a renderer of GX that cannot say it must not stop the gate
        return item.reason
    params = {key: "" if value is None else value for key, value in content["params"].items()}
    return terminal_safe(Template(content["template"]).safe_substitute(params))


def _plain(value: Any) -> Any:
    """Kwargs as JSON has them; a long reference is in the champion's report and only counted here."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()} if len(value) <= 50 else f"{len(value)} entries"
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value] if len(value) <= 50 else f"{len(value)} entries"
    return value if isinstance(value, str | int | float | bool | None) else str(value)
