"""The report: one page that stands alone, made to be looked at. Sections compute; the template only places."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from contender.attribution import TOLERATED_GAP
from contender.evaluation.metrics import METRICS
from contender.judging.words import in_sentence, look_sentence, value
from contender.monitoring import COLUMNS
from contender.names import labelled, multi_labelled
from contender.objectives import front_columns, front_rows, front_sentence
from contender.overfitting import overfitting
from contender.reporting.changes import changes, label_counts
from contender.reporting.charts import Scale, interval_plots, learning_curves, series_charts
from contender.reporting.comparison import RESAMPLES
from contender.reporting.crossvalidation import folded
from contender.reporting.data import ReportInput
from contender.reporting.entities import entity_types, label_types
from contender.reporting.findings import PER_PAIR, Findings, find
from contender.reporting.front import front_chart
from contender.reporting.history import history_chart
from contender.reporting.models import of_models
from contender.reporting.page import render_page
from contender.reporting.search import TRIALS_SHOWN, search_chart
from contender.reporting.selection import selection_table
from contender.reporting.sets import rules_shown, slice_tables
from contender.reporting.timings import latency_chart
from contender.reporting.wording import asked, bounds, duration, energy, rule_name, test_name
from contender.searching import TRIAL_COLUMNS, importance_rows, leaderboard

LABELS_SHOWN = 200
FILES_SHOWN = 300
EXPECTATIONS_SHOWN = 200
REASONS_SHOWN = 12
OBSERVATIONS_SHOWN = 50

WORDS = {"ours": "challenger", "theirs": "champion"}
HEADLINES = {
    "PROMOTE": "The challenger earned its place",
    "KEEP": "The champion stays",
    "INCONCLUSIVE": "Not decided: the champion stays",
}


def render_report(data: ReportInput) -> str:
    """The evaluation as one HTML page: no scripts, no network, the same bytes for the same input."""
    return render_page(
        "report.html",
        data=data,
        facts=METRICS,
        labels_shown=LABELS_SHOWN,
        files_shown=FILES_SHOWN,
        headline=HEADLINES[data.verdict.verdict] if data.champion else _first_headline(data),
        **_measured(data),
        **_looked_into(data),
        **of_models(data.on, data.paired, WORDS, labelled(data.release.kind)),
        expectations=sorted(data.quality.results, key=lambda result: result.urgency)[:EXPECTATIONS_SHOWN],
        quarantine=sorted(data.quality.quarantined_by_reason.items(), key=lambda entry: -entry[1])[:REASONS_SHOWN],
        latency=latency_chart(data),
        history=history_chart(data),
        curves=learning_curves(data.training),
        fit=overfitting(data.training),
        series=series_charts(data.monitoring),
        observations=data.monitoring[: -OBSERVATIONS_SHOWN - 1 : -1],
        observation_columns=COLUMNS,
        selection=selection_table(data.selection),
        **_searched(data),
        **folded(data.folds),
        changes=changes(data),
        lineage=lineage(data),
        duration=duration,
        energy=energy,
        rule_name=rule_name,
        asked=asked,
        bounds=bounds,
        test_name=test_name,
        look_sentence=look_sentence,
    )


def _measured(data: ReportInput) -> dict[str, Any]:
    """Metrics on the set that decides, drawn, and every held-out set beside the champion's."""
    rows, versus = data.metric_rows, data.versus
    asked = {versus.metric: versus.threshold} if versus and versus.set == data.on else {}
    note = f"95%, from {RESAMPLES} bootstrap resamples"
    if versus and versus.alpha and versus.set == data.on:
        note = (
            f"for {in_sentence(versus.metric)} the judge's bounds, each at level {versus.alpha:.4f}; for others {note}"
        )
    return {
        "plots": list(zip(rows, interval_plots(rows, asked, data.bands), strict=True)),
        "bands": data.bands,
        "interval_note": note,
        "sets": [(held, data.champion_on(held.set)) for held in data.evaluation.challenger_sets],
        "slices": slice_tables(data),
        "rules": rules_shown(data.verdict),
    }


def _searched(data: ReportInput) -> dict[str, Any]:
    """The trials that the options were chosen by."""
    found = data.search
    return {
        "searched": search_chart(found),
        "trial_columns": TRIAL_COLUMNS,
        "trials_shown": TRIALS_SHOWN,
        "leaderboard": leaderboard(found)[:TRIALS_SHOWN] if found else [],
        "importance": importance_rows(found) if found else [],
        "front": front_chart(found),
        "front_sentence": front_sentence(found) if found else "",
        "front_columns": front_columns(found) if found else (),
        "front_rows": front_rows(found) if found else [],
    }


def _looked_into(data: ReportInput) -> dict[str, Any]:
    """Findings in the outcomes and the data, and the scales that their bars are drawn to."""
    findings, labels = find(data), label_counts(data)
    most = max([count for item in findings.confusions for count in (item.challenger, item.champion or 0)], default=1)
    largest = max([share for item in labels for share in (item.share, item.champion_share or 0.0)], default=1.0)
    lowest = min([share for item in findings.changes for share in (item.challenger, item.champion)], default=0.0)
    return {
        "findings": findings,
        **_by_type(data),
        "per_pair": PER_PAIR,
        "tolerated_gap": TOLERATED_GAP,
        "agreement": _agreement(findings) if data.champion else None,
        "labels": labels,
        "confusion_scale": Scale(0.0, float(most), 0.0, 200.0),
        "label_scale": Scale(0.0, largest or 1.0, 0.0, 200.0),
        "share_scale": Scale(math.floor(lowest * 10) / 10, 1.0, 8.0, 192.0),
    }


def _by_type(data: ReportInput) -> dict[str, Any]:
    """What answers are made of, of a kind that gives several labels to a row, or finds entities."""
    sets = multi_labelled(data.release.kind)
    types = label_types(data.paired) if sets else entity_types(data.paired) if "entity_f1" in data.metrics else []
    return {"entity_types": types, "label_sets": sets}


def _agreement(findings: Findings) -> dict[str, float]:
    """Widths of the bars of rows fixed and broken, on one scale, and the count of rows that both have right."""
    scale = Scale(0.0, float(max(findings.fixed_count, findings.broken_count, 1)), 0.0, 290.0)
    both = findings.rows - findings.fixed_count - findings.broken_count - findings.wrong_count
    return {"fixed": scale(findings.fixed_count), "broken": scale(findings.broken_count), "both_right": both}


def _first_headline(data: ReportInput) -> str:
    return "The first champion" if data.verdict.verdict == "PROMOTE" else "Not good enough to be the first champion"


def lineage(data: ReportInput) -> list[tuple[str, Any]]:
    """What reproduces this release: name and value, in the order of a run."""
    held = data.release.lineage
    train = held.get("train") or {}
    options = ", ".join(f"{name} {setting}" for name, setting in train.items())
    versions = ", ".join(f"{name} {version}" for name, version in sorted((held.get("versions") or {}).items()))
    return [
        ("Release", data.release.release),
        ("Digest", data.release.digest),
        ("Parent", held.get("parent") or "none"),
        ("Snapshot", data.snapshot.digest),
        ("Spec", held.get("spec_digest", "")),
        ("Base model", held.get("base", "")),
        ("Method", held.get("method", "")),
        ("Training", options),
        *([("Options chosen by", _search_told(searched))] if (searched := held.get("search")) else []),
        *([("Compressed", data.compression.sentence)] if data.compression else []),
        ("Precision", f"{data.training.precision}: {data.training.precision_reason}"),
        ("Trained on", data.training.device),
        ("Evaluated on", f"{data.evaluation.device}, {data.evaluation.dtype}"),
        ("Versions", versions),
        ("Evaluation", data.evaluation.evaluation),
    ]


def _search_told(search: Mapping[str, Any]) -> str:
    """The search that a lineage tells of, in a line."""
    scored = f"{in_sentence(search['metric'])} {value(search['metric'], search['score'])} on {search['set']}"
    around = f", around {search['around']}" if "around" in search else ""
    return f"trial {search['chosen']} of {search['trials']}, {search['method']} search{around}: {scored}"
