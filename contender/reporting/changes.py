"""What the data of this release holds, and what changed since the data that the champion was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contender.reporting.data import ReportInput

SHOWN = 12  # files or labels of a list; the rest is counted


@dataclass(frozen=True)
class LabelCount:
    """Rows of one label in each set, and its share of the admitted rows now and in the champion's data."""

    label: str
    rows: dict[str, int]
    share: float
    champion_share: float | None


@dataclass(frozen=True)
class DataChanges:
    """Against the champion's snapshot: files by path, labels, rows that trained."""

    added: list[str]
    removed: list[str]
    rewritten: list[str]
    new_labels: list[str]
    gone_labels: list[str]
    train_rows: int | None  # the champion's
    same: bool


def label_counts(data: ReportInput) -> list[LabelCount]:
    """Every label with its rows per set, the most frequent in training first."""
    counts, shares = data.split.label_counts, data.quality.label_shares
    before = _lineage(data).get("label_shares") or None
    labels = sorted({label for by_label in counts.values() for label in by_label})
    found = [
        LabelCount(
            label=label,
            rows={name: by_label.get(label, 0) for name, by_label in counts.items()},
            share=shares.get(label, 0.0),
            champion_share=None if before is None else float(before.get(label, 0.0)),
        )
        for label in labels
    ]
    return sorted(found, key=lambda count: (-count.rows.get("train", 0), -count.share, count.label))


def changes(data: ReportInput) -> DataChanges | None:
    """None where there is no champion, or nobody knows its files."""
    if data.champion is None or data.champion_files is None:
        return None
    now = {file.path: file.sha256 for file in data.snapshot.source.files}
    then = {file.path: file.sha256 for file in data.champion_files.source.files}
    labels, old_labels = set(data.release.label_names), set(data.champion.label_names)
    return DataChanges(
        added=sorted(now.keys() - then.keys()),
        removed=sorted(then.keys() - now.keys()),
        rewritten=sorted(path for path in now.keys() & then.keys() if now[path] != then[path]),
        new_labels=sorted(labels - old_labels),
        gone_labels=sorted(old_labels - labels),
        train_rows=(_lineage(data).get("rows") or {}).get("train"),
        same=now == then,
    )


def _lineage(data: ReportInput) -> Mapping[str, Any]:
    return data.champion.lineage if data.champion else {}
