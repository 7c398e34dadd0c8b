"""What the data was: the snapshot, what the quality gate found, how the rows were dealt, and what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contender.datafiles import sets_of
from contender.links import Link
from contender.newdata import Change
from contender.records import ExpectationResult, QualityReport, Snapshot, SplitReport
from contender.showing.markdown import (
    Markup,
    bar,
    bold,
    counted,
    heading,
    linked,
    listed,
    page,
    safe,
    section,
    share,
    table,
)

LABELS = 30  # of a split's, the most frequent ones


def snapshot_page(snapshot: Snapshot, before: Snapshot | None) -> str:
    """The files of every set, the new ones first. `before`: what the champion was trained on."""
    known = {(name, file.sha256) for name, files in sets_of(before).items() for file in files.files} if before else None
    rows, skipped = [], []
    for name, files in sets_of(snapshot).items():
        for file in files.files:
            is_new = known is not None and (name, file.sha256) not in known
            rows.append((bold("new") if is_new else "", name, file.path, f"{file.rows or 0:,}", size(file.size)))
            if file.left_out:
                skipped.append((name, file.path, f"{counted(file.left_out, 'row')}: answers that nobody wanted"))
        skipped += [(name, file.path, file.reason) for file in files.skipped]
    new = sum(1 for row in rows if row[0])
    rows.sort(key=lambda row: not row[0])
    return page(
        heading(f"{counted(snapshot.source.rows, 'row')} in {counted(len(snapshot.source.files), 'file')}"),
        safe(f"Snapshot {snapshot.digest[:12]}. {_news(known is not None, new, len(rows))}"),
        table(("", "set", "file", "rows", "size"), rows),
        *section("Left out", table(("set", "file", "why"), skipped)),
    )


def _news(known: bool, new: int, files: int) -> str:
    if not known:
        return "There is no champion's data to compare it with."
    return f"{new:,} of {counted(files, 'file')} {'is' if new == 1 else 'are'} new since the champion was trained."


def quality_page(report: QualityReport, data_docs: Link | None, quarantine: str | None) -> str:
    """The verdict, then every expectation, failing ones first."""
    results = [result for result in report.results if result.applicable]
    held = sum(result.success for result in results)
    reasons = sorted(report.quarantined_by_reason.items(), key=lambda entry: -entry[1])
    return page(
        heading("✓ The data is good enough to train on" if report.passed else "✗ The data was rejected"),
        bold(report.message),
        f"{held:,} of {counted(len(results), 'expectation')} hold. {report.quarantined:,} of {counted(report.rows, 'row')} "
        f"({share(report.quarantined, report.rows)}) are quarantined.",
        _where(data_docs, quarantine),
        table(
            ("", "severity", "expectation", "seen"),
            [_expectation(result) for result in sorted(report.results, key=lambda result: result.urgency)],
        ),
        *section("Quarantined rows, by reason", table(("reason", "rows"), [(why, f"{n:,}") for why, n in reasons])),
    )


def _expectation(result: ExpectationResult) -> tuple[object, ...]:
    outcome = "passed" if result.success else bold("✗ failed")
    counts = (
        "–"
        if not result.checked
        else f"{result.unexpected:,} of {result.checked:,} ({share(result.unexpected, result.checked)})"
    )
    seen = counts if result.unexpected or not result.observed else result.observed  # else rows' values would be quoted
    return (
        outcome if result.applicable else "not applicable",
        result.severity,
        result.sentence or result.expectation,
        seen,
    )


def _where(data_docs: Link | None, quarantine: str | None) -> Markup:
    found: list[object] = []
    if data_docs:
        found.append(linked(data_docs))
    if quarantine:
        found.append(linked(Link("Quarantined rows", None, quarantine)))
    return listed(found)


def split_page(split: SplitReport) -> str:
    """Rows per set, what was removed so that nothing held out leaks, and the labels in each set."""
    total = sum(split.rows.values())
    sets = ordered_sets(split.rows)
    removed = {
        "left training: its text is a held-out row's": split.removed_leaks,
        "left training: its text is nearly a held-out row's": split.removed_near_duplicates,
        "held-out row that repeats another one": split.removed_duplicates,
        "held-out row that contradicts another one, quarantined": split.removed_conflicts,
    }
    if split.begins:
        removed["in no set: of the time between validation and test"] = split.removed_gap
    return page(
        heading(f"{counted(total, 'row')}, {counted(len(split.labels), 'label')}"),
        table(
            ("set", "rows", "share", " "),
            [
                (name, f"{n:,}", share(n, total), bar(n / total if total else 0))
                for name in sets
                for n in [split.rows[name]]
            ],
        ),
        *section("Removed, so that nothing held out leaks into training", table(("why", "rows"), _counts(removed))),
        *section("Labels", _labels(split, sets)),
    )


def _labels(split: SplitReport, sets: Sequence[str]) -> Markup:
    def count(name: str, label: str) -> int:
        return split.label_counts.get(name, {}).get(label, 0)

    labels = sorted(split.labels, key=lambda label: (-count("train", label), label))
    rows = [(label, *(f"{count(name, label):,}" for name in sets)) for label in labels]
    return table(("label", *sets), rows, LABELS)


def ordered_sets(names: Mapping[str, object]) -> list[str]:
    """train, validation, test, then the golden ones: a record that was found has them sorted by name."""
    first = [name for name in ("train", "validation", "test") if name in names]
    return first + sorted(name for name in names if name not in first)


def changes_page(found: Sequence[Change], message: str) -> str:
    """The files that made a look start a run."""
    rows = [(change.kind, change.set, change.file.path, size(change.file.size)) for change in found]
    return page(
        heading(counted(len(found), "changed file")), safe(message), table(("what", "set", "file", "size"), rows)
    )


def size(count: int) -> str:
    """4.2 MB"""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"


def _counts(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{count:,}") for name, count in counts.items()]
