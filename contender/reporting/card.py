"""The model card: README.md with the front matter that the Hugging Face Hub reads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment

from contender.evaluation.metrics import METRICS
from contender.evaluation.outcomes import from_table
from contender.names import labelled, multi_labelled
from contender.reporting.data import ReportInput
from contender.reporting.entities import label_counts
from contender.reporting.page import templates
from contender.reporting.report import lineage
from contender.text import markdown_safe, shorten

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
MARKS = {"PROMOTE": "✓", "KEEP": "✗", "INCONCLUSIVE": "?"}
LABELS_SHOWN = 200
WEAKEST = 3
FEWEST_ROWS = 5  # of a label before its recall is worth a sentence

# Our metric → the Hub's name for it, which its metric pages and leaderboards are filed under.
HUB_METRICS = {"f1_macro": "f1", "f1_weighted": "f1"} | {"f1_micro": "f1", "f1_macro_labels": "f1"}
HUB_METRICS |= {"precision_micro": "precision", "recall_micro": "recall"}
# Our task → the Hub's name for what its pipelines do, where that is another.
HUB_TASKS = {"multi-label-classification": "text-classification"}


@dataclass(frozen=True)
class WeakLabel:
    label: str
    rows: int
    recall: float


def render_card(data: ReportInput) -> str:
    """The model card in Markdown. Labels and names come from data: they are escaped, and quoted as JSON in the front matter."""
    base = str(data.release.lineage.get("base") or "an unnamed base model")
    text = (
        _environment()
        .get_template("README.md")
        .render(
            data=data,
            base=base,
            facts=METRICS,
            front_matter=front_matter(data, base),
            labels_shown=LABELS_SHOWN,
            lineage=lineage(data),
            sets=[(held, data.champion_on(held.set)) for held in data.evaluation.challenger_sets],
            verdict_mark=MARKS[data.verdict.verdict],
            weakest=weakest_labels(data),
            labelled=labelled(data.release.kind),
            label_sets=multi_labelled(data.release.kind),
            hub_task=hub_task(data),
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def front_matter(data: ReportInput, base: str) -> str:
    """YAML 1.2, every string in JSON's quotes, which YAML reads: no label or name can become another key."""
    fields: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": hub_task(data),
        "tags": ["contender", data.pipeline],
        "metrics": sorted({HUB_METRICS.get(name, name) for name in data.metrics}),
    }
    if HUB_ID.fullmatch(base):
        fields["base_model"] = base
    fields["model-index"] = [{"name": data.pipeline, "results": _results(data)}]
    return "".join(f"{key}: {json.dumps(field)}\n" for key, field in fields.items())


def weakest_labels(data: ReportInput) -> list[WeakLabel]:
    """Labels of which the fewest rows are right, among those with rows enough to tell; none of a kind without such labels."""
    if not labelled(data.release.kind) and not multi_labelled(data.release.kind):
        return []
    outcomes = from_table(data.outcomes)
    if multi_labelled(data.release.kind):
        found = [
            WeakLabel(label, there, right / max(there, 1))
            for label, (right, _, there) in label_counts(outcomes).items()
        ]
    else:
        counts = zip(outcomes.names, outcomes.per_class.support, outcomes.per_class.recall, strict=True)
        found = [WeakLabel(name, int(rows), float(recall)) for name, rows, recall in counts]
    known = sorted((label for label in found if label.rows >= FEWEST_ROWS), key=lambda label: label.recall)
    return [label for label in known[:WEAKEST] if label.recall < 1]


def hub_task(data: ReportInput) -> str:
    """What the Hub, and pipelines of transformers, call the task."""
    return HUB_TASKS.get(data.release.kind, data.release.kind)


def _results(data: ReportInput) -> list[dict[str, Any]]:
    return [
        {
            "task": {"type": hub_task(data)},
            "dataset": {"name": f"{data.pipeline} {held.set}", "type": data.pipeline, "split": held.set},
            "metrics": [
                {"type": HUB_METRICS.get(name, name), "name": METRICS[name].title, "value": round(number, 6)}
                for name, number in held.metrics.items()
            ],
        }
        for held in data.evaluation.challenger_sets
    ]


@cache
def _environment() -> Environment:
    # Markdown is not HTML: every value from data goes through `md`, and a test feeds hostile ones to all of them.
    environment = templates(autoescape=False)
    environment.filters["md"] = lambda text: markdown_safe(shorten(str(text), 2000))
    return environment
