"""What differs between two releases: their data, spec, metrics and environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from contender.datafiles import files_of_release, sets_of
from contender.names import labelled
from contender.noise import NoiseReport
from contender.records import Evaluation, Record, ReleaseManifest
from contender.registry import Registry

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.reporting.charts import IntervalPlot
    from contender.reporting.comparison import MetricRow

LISTED = 1_000  # data files of each kind that are named; the rest is counted
LISTED_IN_PAGE = 50
CHANGES_IN_PAGE = 300
ABSENT = "–"


class Change(Record):
    """One thing that is not the same, as text; a dash where one side has none."""

    name: str
    a: str
    b: str


class MetricChange(Record):
    """One metric on one held-out set; None where a side was not evaluated there."""

    set: str
    metric: str
    a: float | None
    b: float | None
    same_rows: bool | None = None
    noise: float | None = Field(default=None, description="2·√2·sd over seeds, where they differ and it was measured")

    @property
    def difference(self) -> float | None:
        return self.b - self.a if self.a is not None and self.b is not None else None


class FileChanges(Record):
    """Data files by their set and path; None instead of this where a release does not know its files."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    rewritten: tuple[str, ...]
    unchanged: int
    more: int = 0


class Difference(Record):
    """Release b, seen from release a."""

    a: str
    b: str
    same_model: bool
    data: tuple[Change, ...]
    files: FileChanges | None
    spec: tuple[Change, ...]
    metrics: tuple[MetricChange, ...]
    environment: tuple[Change, ...]
    noise: NoiseReport | None = Field(default=None, description="the newest, where a difference is beside it")


@dataclass(frozen=True)
class Side:
    """A release with what the registry knows of it."""

    name: str
    manifest: ReleaseManifest
    files: Mapping[str, str] | None
    evaluation: Evaluation | None

    @property
    def lineage(self) -> Mapping[str, Any]:
        return self.manifest.lineage


def side(registry: Registry, manifest: ReleaseManifest, evaluation: str | None) -> Side:
    """The release, its data files, and this evaluation of it, or its newest one."""
    release = manifest.release
    stored = files_of_release(registry, release)
    files = None
    if stored is not None:
        files = {
            file.path if name == "source" else f"{name}: {file.path}": file.sha256
            for name, one in sets_of(stored).items()
            for file in one.files
        }
    found = evaluation or registry.newest_evaluation(release)
    return Side(
        name=f"{registry.pipeline}@{release}",
        manifest=manifest,
        files=files,
        evaluation=registry.evaluation(release, found) if found else None,
    )


def difference(a: Side, b: Side, noise: NoiseReport | None = None) -> Difference:
    """`noise`: of the pipeline of both releases; it is told beside metrics that differ and that it measured."""
    metrics = tuple(_with_noise(change, noise) for change in _metrics(a.evaluation, b.evaluation))
    return Difference(
        a=a.name,
        b=b.name,
        same_model=a.manifest.digest == b.manifest.digest,
        data=tuple(_changes(_data(a), _data(b))),
        files=_files(a.files, b.files),
        spec=tuple(_changes(_spec(a), _spec(b))),
        metrics=metrics,
        environment=tuple(_changes(_environment(a), _environment(b))),
        noise=noise if any(change.noise is not None for change in metrics) else None,
    )


def noise_of(a: Registry, b: Registry) -> tuple[NoiseReport | None, list[str]]:
    """The newest noise record where both releases are of one pipeline, and what is wrong with others."""
    return a.newest_noise() if a.url == b.url else (None, [])


def _with_noise(change: MetricChange, noise: NoiseReport | None) -> MetricChange:
    if noise is None or not change.difference:
        return change
    return change.model_copy(update={"noise": noise.band(change.metric, change.set)})


def _data(of: Side) -> dict[str, str]:
    counts = {f"rows of {name}": f"{rows:,}" for name, rows in (of.lineage.get("rows") or {}).items()}
    shares = {
        f"share of label {name}": f"{share:.4f}" for name, share in (of.lineage.get("label_shares") or {}).items()
    }
    labels = {"labels": f"{len(of.manifest.label_names):,}"}
    return counts | labels | shares | {"snapshot": str(of.lineage.get("snapshot", ABSENT))[:16]}


def _spec(of: Side) -> dict[str, str]:
    """The spec, and the search that chose some of it."""
    searched = of.lineage.get("search")
    return _flat(of.lineage.get("spec")) | (_flat(searched, "search") if searched else {})


def _environment(of: Side) -> dict[str, str]:
    held = of.lineage
    parts = {"code": held.get("code"), "version": held.get("versions"), "hardware": held.get("hardware")}
    flat = {f"{part}.{name}": text for part, values in parts.items() for name, text in _flat(values).items()}
    single = {name: str(held[name]) for name in ("precision", "base_digest", "seed") if held.get(name) is not None}
    measured = {"evaluated on": f"{of.evaluation.device}, {of.evaluation.dtype}"} if of.evaluation else {}
    return flat | single | measured


def _files(a: Mapping[str, str] | None, b: Mapping[str, str] | None) -> FileChanges | None:
    if a is None or b is None:
        return None
    added, removed = sorted(b.keys() - a.keys()), sorted(a.keys() - b.keys())
    rewritten = sorted(path for path in a.keys() & b.keys() if a[path] != b[path])
    lists = (added, removed, rewritten)
    return FileChanges(
        added=tuple(added[:LISTED]),
        removed=tuple(removed[:LISTED]),
        rewritten=tuple(rewritten[:LISTED]),
        unchanged=len(a.keys() & b.keys()) - len(rewritten),
        more=sum(max(0, len(paths) - LISTED) for paths in lists),
    )


def _metrics(a: Evaluation | None, b: Evaluation | None) -> Iterator[MetricChange]:
    sides = [{held.set: held for held in (one.challenger_sets if one else ())} for one in (a, b)]
    for name in sorted(sides[0].keys() | sides[1].keys()):
        old, new = (found.get(name) for found in sides)
        for metric in sorted((old.metrics if old else {}).keys() | (new.metrics if new else {}).keys()):
            yield MetricChange(
                set=name,
                metric=metric,
                a=old.metrics.get(metric) if old else None,
                b=new.metrics.get(metric) if new else None,
                same_rows=old.set_digest == new.set_digest if old and new else None,
            )


def _changes(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Change]:
    for name in [*a, *(name for name in b if name not in a)]:
        if a.get(name) != b.get(name):
            yield Change(name=name, a=a.get(name, ABSENT), b=b.get(name, ABSENT))


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys; everything else as text."""
    if not isinstance(value, Mapping):
        return {prefix: ABSENT if value is None else str(value)} if prefix else {}
    found: dict[str, str] = {}
    for name, inner in value.items():
        found |= _flat(inner, f"{prefix}.{name}" if prefix else str(name))
    return found


@dataclass(frozen=True)
class SameRows:
    """What both releases answered on the same rows of a held-out set, in the same order."""

    set: str
    a: pa.Table
    b: pa.Table
    labelled: bool  # each row has one label of a closed set


def same_rows(a: Registry, b: Registry, first: Side, second: Side) -> SameRows | None:
    """Outcomes that the evaluations of both sides keep of the same rows; None where there are none.

    Reads two files at most. Damaged where one of them is.
    """
    from contender.rejudging import kept_outcomes

    has_labels = labelled(second.manifest.kind)
    one, other = first.evaluation, second.evaluation
    if one is None or other is None:
        return None
    if a.url == b.url and other.champion == one.release:
        name = other.challenger_sets[0].set
        old, new = (kept_outcomes(b, name, other, role) for role in ("champion", "challenger"))
        return SameRows(name, old, new, has_labels)
    if a.url == b.url and one.champion == other.release:
        name = one.challenger_sets[0].set
        old, new = (kept_outcomes(a, name, one, role) for role in ("challenger", "champion"))
        return SameRows(name, old, new, has_labels)
    digests = {held.set: held.set_digest for held in other.challenger_sets}
    for held in one.challenger_sets:
        if digests.get(held.set) == held.set_digest:
            pairs = ((a, one), (b, other))
            old, new = (kept_outcomes(kept, held.set, by, "challenger") for kept, by in pairs)
            return SameRows(held.set, old, new, has_labels)
    return None


def render_difference(found: Difference, rows: SameRows | None = None) -> str:
    """The difference as one HTML page: no scripts, no network. `rows`: to compare the two row by row."""
    from contender.evaluation.metrics import METRICS
    from contender.reporting.page import render_page

    plots = _plots(found.metrics) if found.noise else []
    return render_page(
        "difference.html",
        found=found,
        facts=METRICS,
        listed=LISTED_IN_PAGE,
        changes_shown=CHANGES_IN_PAGE,
        plots=plots,
        rows=rows,
        **(_compared(rows) if rows else {}),
    )


def _compared(rows: SameRows) -> dict[str, Any]:
    """What both releases did with the same rows: how often each is right alone; with labels also what is confused, and how sure
    they are."""
    from contender.evaluation.outcomes import paired
    from contender.reporting.models import of_models

    both = paired(rows.b, rows.a)
    counts = {
        "rows broken by the second": both.broken,
        "rows fixed by it": both.fixed,
        "rows that both have right": both.ours.right & ~both.fixed,
        "rows that both have wrong": both.wrong,
    }
    words = {"ours": "second release", "theirs": "first release"}
    return {"counts": {name: int(those.sum()) for name, those in counts.items()}} | of_models(
        rows.set, both, words, rows.labelled
    )


def _plots(changes: Sequence[MetricChange]) -> list[IntervalPlot | None]:
    """For each change its difference in the band of what seeds alone may move; None where there is no band."""
    from contender.reporting.charts import interval_plots

    rows = {place: row for place, change in enumerate(changes) if (row := _row(change))}
    bands = {change.metric: change.noise for change in changes if change.noise is not None}
    drawn = dict(zip(rows, interval_plots(list(rows.values()), {}, bands), strict=True))
    return [drawn.get(place) for place in range(len(changes))]


def _row(change: MetricChange) -> MetricRow | None:
    """The difference without an interval: the releases may have been evaluated on other rows."""
    from contender.evaluation.metrics import METRICS
    from contender.reporting.comparison import MetricRow

    if change.noise is None or change.a is None or change.b is None:
        return None
    facts, gain = METRICS[change.metric], change.b - change.a
    return MetricRow(
        name=change.metric,
        title=facts.title,
        percent=facts.percent,
        higher_is_better=facts.higher_is_better,
        challenger=change.b,
        champion=change.a,
        low=gain,
        high=gain,
        floor=None,
        level="",
    )
