"""The report: one page that stands alone, made to be looked at. Sections compute; the template only places."""

from __future__ import annotations

import hashlib
import math
from base64 import b64encode
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from contender.evaluation.metrics import METRICS
from contender.judging.words import MEASURES, amount, facts, in_sentence, look_sentence, points, value
from contender.monitoring import COLUMNS
from contender.noise import size
from contender.records import RuleResult
from contender.reporting.changes import changes, label_counts
from contender.reporting.charts import Scale, interval_plots, learning_curves, series_charts
from contender.reporting.comparison import RESAMPLES, metric_rows
from contender.reporting.data import ReportInput
from contender.reporting.findings import Findings, find
from contender.text import ACTING, escape_of, shorten, terminal_safe

NAME_LENGTH = 80  # characters of a label, a path or a value in a table
LABELS_SHOWN = 200
FILES_SHOWN = 1_000
OBSERVATIONS_SHOWN = 50

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
        expectations=sorted(data.quality.results, key=lambda result: result.urgency),
        quarantine=sorted(data.quality.quarantined_by_reason.items(), key=lambda entry: -entry[1]),
        curves=learning_curves(data.training),
        series=series_charts(data.monitoring),
        observations=data.monitoring[: -OBSERVATIONS_SHOWN - 1 : -1],
        observation_columns=COLUMNS,
        changes=changes(data),
        lineage=lineage(data),
        duration=duration,
        rule_name=rule_name,
        asked=asked,
        bounds=bounds,
        test_name=test_name,
        look_sentence=look_sentence,
    )


def render_page(template: str, **values: Any) -> str:
    """A page of ours: its own style, whose digest its policy names, and nothing else that a browser would load or run."""
    environment = _environment()
    style = environment.get_template("report.css").render()
    style_hash = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(style=Markup(style), style_hash=style_hash, **values)


def warm_up() -> None:
    """Compiles the templates: a part of a second that can pass while something else is waited for."""
    environment = _environment()
    for name in environment.list_templates(extensions=["html", "css"]):
        environment.get_template(name)


def _measured(data: ReportInput) -> dict[str, Any]:
    """Metrics on the set that decides, drawn, and every held-out set beside the champion's."""
    rows, versus = metric_rows(data), data.versus
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
    }


def _looked_into(data: ReportInput) -> dict[str, Any]:
    """Findings in the outcomes and the data, and the scales that their bars are drawn to."""
    findings, labels = find(data), label_counts(data)
    most = max([count for item in findings.confusions for count in (item.challenger, item.champion or 0)], default=1)
    largest = max([share for item in labels for share in (item.share, item.champion_share or 0.0)], default=1.0)
    lowest = min([share for item in findings.changes for share in (item.challenger, item.champion)], default=0.0)
    return {
        "findings": findings,
        "agreement": _agreement(findings) if data.champion else None,
        "labels": labels,
        "confusion_scale": Scale(0.0, float(most), 0.0, 200.0),
        "label_scale": Scale(0.0, largest or 1.0, 0.0, 200.0),
        "share_scale": Scale(math.floor(lowest * 10) / 10, 1.0, 8.0, 192.0),
    }


def _agreement(findings: Findings) -> dict[str, float]:
    """Widths of the bars of rows fixed and broken, on one scale, and the count of rows that both have right."""
    scale = Scale(0.0, float(max(findings.fixed_count, findings.broken_count, 1)), 0.0, 290.0)
    both = findings.rows - findings.fixed_count - findings.broken_count - findings.wrong_count
    return {"fixed": scale(findings.fixed_count), "broken": scale(findings.broken_count), "both_right": both}


def _first_headline(data: ReportInput) -> str:
    return "The first champion" if data.verdict.verdict == "PROMOTE" else "Not good enough to be the first champion"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("contender.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": shown,
        "plain": terminal_safe,  # for a title, where no markup can stand
        "name": lambda text: shown(shorten(str(text), NAME_LENGTH)),
        "metric": lambda number, name: value(name, number),
        "signed": lambda number, name: signed(name, number),
        "points": points,
        "size": lambda number, name: size(name, number),
        "count": lambda number: f"{number:,}",
        "tick": tick,
        "p": lambda number: "< 0.0001" if number < 1e-4 else f"{number:.2g}",
    }
    return environment


def shown(text: object) -> Markup:
    """Escaped text in which acting characters (controls, direction overrides) stand as marked escapes."""
    parts: list[Markup] = []
    plain, raw = 0, str(text)
    for found in ACTING.finditer(raw):
        parts += [escape(raw[plain : found.start()]), Markup("<code>{}</code>").format(escape_of(found[0]))]
        plain = found.end()
    return Markup("").join([*parts, escape(raw[plain:])])


def signed(name: str, number: float) -> str:
    """A difference of a metric: +1.9 points, or −0.0312 where it is no percentage."""
    return amount(name, number, sign=True)


def tick(number: float, percent: bool = False) -> str:
    """A value beside an axis, as short as it can be."""
    text = f"{number * 100 if percent else number:,.6f}".rstrip("0").rstrip(".").replace("-", "−")
    if text in ("0", "−0") and number:
        text = f"{number:.1g}".replace("-", "−")
    return f"{text}%" if percent else text


def rule_name(rule: RuleResult) -> str:
    """A rule as people call it: floor on accuracy, better than the champion."""
    title = in_sentence(rule.metric)
    if rule.kind == "floor":
        return f"{'Floor' if facts(rule.metric).higher_is_better else 'Ceiling'}: {title}"
    if rule.kind == "guard":
        return f"Guard: {title}{f' on {rule.slice or rule.set}' if rule.rule not in MEASURES else ''}"
    name = "Better than the champion" if rule.rule.startswith("superior") else "No worse than the champion"
    return f"{name}: {title} on {rule.set}"


def asked(rule: RuleResult) -> str:
    """What the rule asks for: at least 85.0%; a gain above 0.5 points."""
    if rule.kind == "guard" and rule.rule not in MEASURES:
        return f"no drop beyond {amount(rule.metric, -rule.threshold)}"
    if rule.kind == "comparison":
        return (
            "a gain above 0"
            if rule.threshold == 0
            else f"a gain above {amount(rule.metric, rule.threshold, sign=True)}"
        )
    return f"{'at least' if facts(rule.metric).higher_is_better else 'at most'} {value(rule.metric, rule.threshold)}"


def test_name(rule: RuleResult) -> str:
    """The test that decided a comparison, in words."""
    if rule.resamples:
        sign = "the larger p-value of the exact sign test by key and of a " if rule.better is not None else "a "
        return f"{sign}paired bootstrap with {rule.resamples:,} resamples"
    if rule.threshold == 0:
        return "the exact binomial test of better rows among better and worse ones (McNemar)"
    return "the exact unconditional test, ordered by the score statistic"


def bounds(rule: RuleResult) -> str:
    """The rule's interval: of the gain, or of the metric itself for a floor."""
    assert rule.low is not None and rule.high is not None
    if rule.kind == "floor" or rule.rule in MEASURES:
        return f"{value(rule.metric, rule.low)} to {value(rule.metric, rule.high)}"
    return f"{amount(rule.metric, rule.low, sign=True)} to {amount(rule.metric, rule.high, sign=True)}"


def duration(seconds: float) -> str:
    """41 s, 12 min 5 s, 3 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


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
        ("Precision", f"{data.training.precision}: {data.training.precision_reason}"),
        ("Trained on", data.training.device),
        ("Evaluated on", f"{data.evaluation.device}, {data.evaluation.dtype}"),
        ("Versions", versions),
        ("Evaluation", data.evaluation.evaluation),
    ]
