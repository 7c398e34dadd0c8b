"""What a report is made from, built from a few choices, and a page taken apart."""

from __future__ import annotations

from html.parser import HTMLParser

import pyarrow as pa

from contender.evaluation.evaluate import evaluate_set
from contender.judging.held_out import HeldOut
from contender.judging.judge import judge
from contender.judging.rules import Rules
from contender.monitoring import Drift, Observation
from contender.records import (
    CurvePoint,
    Evaluation,
    ExpectationResult,
    FileEntry,
    FileSet,
    QualityReport,
    ReleaseManifest,
    SkippedFile,
    Snapshot,
    SourceFile,
    SplitReport,
    TrainReport,
)
from contender.reporting.data import ReportInput
from contender.verdict import Look

EVIL = (
    "<script>document.title='owned'</script>\" onload='x' {{ 7*7 }} \x1b[31m \u202egnp.exe\u202c ](javascript:1) \x00"
)
METRICS = ["accuracy", "f1_macro", "log_loss", "calibration_error"]


def table(labels, predictions, sure=0.9):
    rows = len(labels)
    return pa.table(
        {
            "key": pa.array(range(rows), pa.uint64()),
            "label": pa.array(labels, pa.string()),
            "prediction": pa.array(predictions, pa.string()),
            "p_label": pa.array([0.7] * rows, pa.float32()),
            "confidence": pa.array([sure] * rows, pa.float32()),
        }
    )


LOOK = Look(set="test", generation=1, look=1, alpha=0.0304, spent=0.608, units=60)


def manifest(release, labels, **lineage):
    return ReleaseManifest(
        kind="text-classification",
        columns={"text": "body", "label": "intent"},
        label_names=tuple(labels),
        lineage={"base": "package:tiny", "versions": {"torch": "2"}, "train": {"seed": 17}} | lineage,
        release=release,
        digest="ab" * 32,
        files=(FileEntry(path="model.safetensors", size=10, sha256="cd" * 32),),
        created="2026-11-22T14:00:00+00:00",
    )


def report_input(
    folder, labels=("a", "b", EVIL), texts=None, rows=60, champion=True, examples="full", better=8, curve=True
):
    """A challenger that has `better` rows right that the champion has wrong, and two the other way round."""
    names = [labels[row % len(labels)] for row in range(rows)]
    other = [labels[(row + 1) % len(labels)] for row in range(rows)]
    ours = table(names, [o if row in (0, 1, 2) else n for row, (n, o) in enumerate(zip(names, other, strict=True))])
    wrong = {2, *range(10, 10 + better)}
    theirs = table(names, [o if row in wrong else n for row, (n, o) in enumerate(zip(names, other, strict=True))])
    texts = texts or [f"text {row}" for row in range(rows)]
    held = pa.table({"text": texts, "channel": [EVIL if row % 2 else "mail" for row in range(rows)]})
    path = folder / "test.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, held.schema) as out:
        out.write_table(held)
    verdict = judge(
        Rules.model_validate({"primary": "accuracy", "floors": {"accuracy": 0.5, "log_loss": 2.0}}),
        {"test": HeldOut(ours, theirs if champion else None, look=LOOK if champion else None)},
        judged_against=3 if champion else 0,
        champion_release="r-1111111111111111" if champion else None,
    )
    source = FileSet(
        files=(SourceFile(path=EVIL + ".csv", size=5, sha256="aa" * 32, rows=60),),
        skipped=(SkippedFile(path=EVIL, reason="hidden file"),),
    )
    expectation = ExpectationResult(
        expectation="expect_x",
        column="text",
        severity="critical",
        success=False,
        checked=60,
        unexpected=3,
        observed=EVIL,
        sentence=EVIL,
    )
    points = tuple(CurvePoint(step=s, epoch=s / 10, loss=1 / s) for s in range(1, 40))
    points += tuple(CurvePoint(step=10 * e, epoch=e, metrics={"accuracy": 0.8 + e / 100}) for e in range(1, 4))
    counts = {"train": dict.fromkeys(labels, 40), "test": dict.fromkeys(labels, 20)}
    evaluate = [
        evaluate_set("test", path, "ee" * 32, t, METRICS, ["channel"])
        for t in ((ours, theirs) if champion else (ours,))
    ]
    return ReportInput(
        pipeline="support-intents",
        alias="production",
        at="2026-11-22T14:00:00+00:00",
        on="test",
        verdict=verdict,
        evaluation=Evaluation(
            evaluation="e-1", release="r-2", champion=verdict.champion, device="cpu", dtype="float32",
            challenger_sets=tuple(evaluate[:1]), champion_sets=tuple(evaluate[1:]),
        ),
        release=manifest("r-2222222222222222", labels),
        champion=manifest("r-1111111111111111", labels[:1], label_shares={EVIL: 1.0}) if champion else None,
            champion_files=Snapshot(source=FileSet(files=(SourceFile(path=EVIL, size=1, sha256="00"),))) if champion else None,
        snapshot=Snapshot(source=source),
        quality=QualityReport(
            suite="s.yaml", passed=True, message=EVIL, rows=60, quarantined=3, quarantined_by_reason={EVIL: 3},
            results=(expectation.model_copy(update={"success": True, "sentence": "holds"}), expectation),
            label_shares=dict.fromkeys(labels, 0.3),
        ),
        split=SplitReport(
            rows={"train": 120, "test": rows}, digests={"test": "ee" * 32}, removed_leaks=1, removed_duplicates=2,
            removed_near_duplicates=1_234, removed_conflicts=5,
            labels=tuple(labels), label_counts=counts,
        ),
        training=TrainReport(
            steps=39, epochs=3, examples=120, seconds=5, examples_per_second=24, learning_rate=3e-4, batch_size=32, precision="fp32",
            precision_reason="measured", device="cpu", best_step=30, curve=points if curve else (), versions={"torch": "2"},
        ),
        outcomes=ours,
        champion_outcomes=theirs if champion else None,
        rows=path,
        examples=examples,
    )  # fmt: skip


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in {"meta", "line", "path", "rect", "circle", "polyline", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in {"path", "line"}:
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


def series(values, champions=("r-a",), **changes):
    return tuple(
        Observation(
            **{
                "n": n,
                "alias": "production",
                "alias_entry": 1,
                "champion": champions[n * len(champions) // (len(values) + 1)],
                "champion_digest": "d",
                "snapshot": "s",
                "rows": 120,
                "primary": "accuracy",
                "metrics": {"accuracy": value, "f1_macro": value},
                "bounds": (max(value - 0.05, 0), min(value + 0.05, 1)),
                "unknown_labels": 0,
                "confidence": 0.8,
                "drift": Drift(labels=0.1 + n / 50, predictions=0.12 + n / 60, by_chance=0.11),
                "outcomes": "f",
                "at": f"2026-11-{n:02}T14:00:00.000Z",
            }
            | changes
        )
        for n, value in enumerate(values, 1)
    )
