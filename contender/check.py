"""What `contender check` says before anything is trained: rows, steps, and the smallest gain that the held-out set can show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from contender.data.jsonlists import label_counts
from contender.estimate import Estimate, steps_of, warnings_of
from contender.evaluation.scope import check_scope
from contender.gpus import hold_gpu
from contender.judging.fairness import FEWEST_UNITS
from contender.judging.judge import enough, smallest_gain
from contender.judging.rules import Rules
from contender.judging.spending import alpha_of
from contender.judging.words import in_sentence
from contender.names import Labels
from contender.notifications import unresolved
from contender.plan import columns, features, judged_set
from contender.records import Record, Snapshot
from contender.room import room_for
from contender.run import Run, find_decision, open_run
from contender.spec import Pipeline
from contender.stages.base import find_bases, find_student, with_base
from contender.stages.data import look, take_snapshot
from contender.stages.estimate import estimate_training, known_estimate
from contender.stages.judge import rules_of
from contender.text import listed, shorten, shorten_keys
from contender.upcoming import NextStarts, next_starts
from contender.workspace import Staged

ACCURACY = "accuracy"  # the only metric whose smallest gain follows from the number of rows


class NextLook(Record):
    """What a run's comparisons could show on a held-out set. Of accuracy that is known before; of another metric it depends on how
    unlike both models' answers are, which nobody knows."""

    set: str
    generation: int
    look: int
    units: int = Field(description="about so many rows or keys would be judged")
    metrics: tuple[str, ...] = Field(description="that the two models are compared by")
    smallest_gain: float | None = Field(
        description="true gain of accuracy that is shown with 80% power; None: none is, or accuracy is not compared"
    )

    @property
    def text(self) -> str:
        again = f" (look {self.look} of generation {self.generation})" if self.look > 1 or self.generation > 1 else ""
        return f"{self.set}; {'; '.join(self._gains)}{again}"

    @property
    def _gains(self) -> Iterator[str]:
        if self.units < FEWEST_UNITS:
            yield "smallest gain that it can show: nothing: too few rows"
            return
        if ACCURACY in self.metrics:
            shown = (
                f"{self.smallest_gain:.1%} of accuracy with 80% power"
                if self.smallest_gain
                else "nothing: too few rows"
            )
            yield f"smallest gain that it can show: {shown}"
        if others := [in_sentence(name) for name in self.metrics if name != ACCURACY]:
            yield f"about {self.units:,} rows to compare {' and '.join(others)} on, whose smallest gain depends on the models' answers"


class Plan(Record):
    """What a run would do."""

    pipeline: str
    base: str
    files: int
    rows: int
    labels: dict[str, int]
    expected_rows: dict[str, int]
    steps: int
    selection: str | None = Field(description="how bases are compared before, where the spec names several")
    search: str | None = Field(description="what is tried before, where the spec searches")
    side_by_side: str | None = Field(description="how many trials, or folds, at the same time, where these are several")
    cross_validation: str | None = Field(description="trainings on folds, where the spec asks for them")
    estimate: Estimate | None = Field(description="of the training, where it was timed: check --probe")
    budget: str = Field(description="what the trainings for the model may use together; empty: no end")
    judged_on: str
    smallest_gain: float | None = Field(description="of accuracy, of the looks the one that shows least")
    looks: tuple[NextLook, ...]
    champion: str | None
    decided: bool
    schedules: tuple[NextStarts, ...] = Field(description="when it would run by the clock, once it is deployed")
    triggers: dict[str, str] = Field(description="what else would start a run")
    notify: tuple[str, ...] = Field(description="who would be told of what")
    warnings: tuple[str, ...]

    def lines(self) -> list[tuple[str, str]]:
        labels = f", {len(self.labels)} labels" if self.labels else ""
        sets = ", ".join(f"{name} about {rows:,}" for name, rows in self.expected_rows.items())
        return [
            ("pipeline", self.pipeline),
            ("base model", self.base),
            ("data", f"{self.files:,} file{'' if self.files == 1 else 's'}, {self.rows:,} rows{labels}"),
            ("sets", sets),
            (
                "training",
                f"at most {self.steps:,} steps{f', and {self.budget}' if self.budget else ''}",
            ),
            *([("estimate", self.estimate.text)] if self.estimate else []),
            *([("selection", self.selection)] if self.selection else []),
            *([("search", self.search)] if self.search else []),
            *([("side by side", self.side_by_side)] if self.side_by_side else []),
            *([("folds", self.cross_validation)] if self.cross_validation else []),
            *(("judged on", look.text) for look in self.looks),
            ("champion", self.champion or "none yet: the first release needs only the floors"),
            (
                "now",
                "this data is decided already; a run would end as up to date" if self.decided else "a run would train",
            ),
            *(("schedule", one.text) for one in self.schedules),
            *((name.replace("_", " "), text) for name, text in self.triggers.items()),
            *(("notify", text) for text in self.notify),
        ]


def check(pipeline: Pipeline, probe: bool = False) -> Plan:
    """Reads the data as a run would (and keeps what it read for that run); trains nothing, writes nothing to the registry.

    `probe`: times some steps of the training. An estimate that was made before is told without it.
    """
    run = open_run(pipeline, actor="")
    base = (bases := find_bases(run))[0]
    find_student(run, base)
    seen = look(run)
    snapshot = take_snapshot(run, seen)
    facts = pipeline.spec.facts
    labels = _label_counts(snapshot.folder / "source.arrow", columns(pipeline)[facts.target], facts.labels)
    check_scope(pipeline.spec.evaluate.out_of_scope, labels)
    expected = _expected_rows(pipeline, snapshot.record, snapshot.folder / "source.arrow")
    rules = rules_of(pipeline)
    looks = tuple(_next_look(run, rules, name, expected[name]) for name in rules.compared_on())
    gain = _largest([look.smallest_gain for look in looks if ACCURACY in look.metrics])
    entry = run.registry.champion(pipeline.spec.promote.alias)
    train, budget, folds = pipeline.spec.train, pipeline.spec.resources.budget, pipeline.spec.cross_validation
    if probe:
        run = replace(run, hold_device=hold_gpu)  # one that no run trains on: both would take longer
        estimate: Estimate | None = estimate_training(with_base(run, base.name), base, snapshot, labels, expected)
    else:
        estimate = known_estimate(with_base(run, base.name), snapshot.record.digest, base.digest)
    return Plan(
        pipeline=pipeline.spec.name,
        base="; ".join([*(f"{one.name}, sha256 {one.digest[:12]}" for one in bases), *pipeline.spec.model.asked]),
        files=len(snapshot.record.source.files),
        rows=snapshot.record.source.rows,
        labels=shorten_keys(labels),
        expected_rows=expected,
        steps=estimate.steps if estimate else steps_of(expected["train"], train.batch_size, train.epochs),
        selection=pipeline.spec.selection.text(pipeline.spec) if pipeline.spec.selection else None,
        search=pipeline.spec.search.text if pipeline.spec.search else None,
        side_by_side=room_for(run, bases).text or None
        if pipeline.spec.search or pipeline.spec.cross_validation
        else None,
        cross_validation=folds.told(bool(pipeline.spec.search)) if folds else None,
        estimate=estimate.at(budget.price_per_hour) if estimate else None,
        budget=budget.text,
        judged_on=judged_set(pipeline),
        smallest_gain=gain,
        looks=looks,
        champion=entry.release if entry else None,
        decided=find_decision(run, snapshot.record) is not None,
        schedules=next_starts(pipeline, datetime.now(UTC)),
        triggers=dict(_triggers(pipeline)),
        notify=tuple(f"{', '.join(one.on)} → {', '.join(one.to)}" for one in pipeline.spec.notify),
        warnings=(
            *_warnings(looks, rules, labels, snapshot.record),
            *_of_columns(pipeline, snapshot),
            *warnings_of(estimate, budget, _trainings(pipeline), folds.folds if folds else 0),
            *unresolved(pipeline),
        ),
    )


def _trainings(pipeline: Pipeline) -> int:
    """Whole trainings of a run, at most: those on folds, and what bases are compared by, not among them."""
    spec = pipeline.spec
    return spec.search.most if spec.search else spec.selection.keep if spec.selection else 1


def _triggers(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    triggers = pipeline.spec.triggers
    if (new := triggers.new_data) is not None:
        enough = [f"{count:,} {what}" for count, what in ((new.min_rows, "rows"), (new.min_files, "files")) if count]
        yield "new_data", f"looks every {new.every:g} s; {' or '.join(enough) or 'any row'} must be new"
    if (worse := triggers.degradation) is not None:
        metric = worse.metric or pipeline.spec.evaluate.metrics[0]
        yield (
            "degradation",
            f"{metric} of the champion on {worse.min_rows:,} new labelled rows, against {worse.bound:g}",
        )
    if (hook := triggers.webhook) is not None:
        yield "webhook", f"POST /hooks/{pipeline.spec.name}, scheme {hook.scheme}"


def _label_counts(rows: Path, column: str, labels: Labels) -> dict[str, int]:
    """Rows of each label, as text like in every later stage, the commonest first; rows without a label belong to none.

    Of lists how often each label is in one; nothing where the task has no labels.
    """
    from contender.data.source import open_rows
    from contender.data.values import as_text

    return dict(label_counts(as_text(open_rows(rows).data.column(column)), labels)) if labels != "none" else {}


def _expected_rows(pipeline: Pipeline, snapshot: Snapshot, source: Path) -> dict[str, int]:
    split, rows = pipeline.spec.data.split, snapshot.source.rows
    if split.by == "time":
        from contender.data.rowfile import read_batches
        from contender.data.timesplit import counts

        sets = counts(split, lambda: read_batches(source))
    else:
        test, validation = round(rows * split.test), round(rows * split.validation)
        sets = {"train": rows - test - validation, "validation": validation, "test": test}
    golden = {f"golden-{name}": held.rows for name, held in snapshot.golden.items()}
    return {name: rows for name, rows in sets.items() if name != "test" or split.test} | golden


def _next_look(run: Run, rules: Rules, name: str, rows: int) -> NextLook:
    """The next look at a set that will hold about so many rows; the ledger says which of them were judged before."""
    from contender.registry.ledger import next_place

    looks = run.registry.looks(name)
    judged, standing = (looks[-1].judged, looks[-1].units) if looks else (0, 0)
    place = next_place(looks, rows - judged, standing, lambda units: enough(rules, name, units))
    if not place.takes_in:
        rows = min(rows, standing)
    elif looks and place.look == 1:
        rows -= judged
    alpha = alpha_of(place.look, rules.versus.confidence)
    leaves = [(leaf, share) for leaf, share in rules.versus.leaves() if rules.set_of(leaf) == name]
    gains = [
        smallest_gain(rows, alpha * share, min_gain=leaf.min_gain)
        for leaf, share in leaves
        if rules.metric_of(leaf) == ACCURACY
    ]
    return NextLook(
        set=name,
        generation=place.generation,
        look=place.look,
        units=rows,
        metrics=tuple(dict.fromkeys(rules.metric_of(leaf) for leaf, _ in leaves)),
        smallest_gain=_largest(gains),
    )


def _largest(gains: Sequence[float | None]) -> float | None:
    """The largest of them; None where one is, or there is none."""
    known = [gain for gain in gains if gain is not None]
    return max(known) if known and len(known) == len(gains) else None


def _of_columns(pipeline: Pipeline, snapshot: Staged[Snapshot]) -> Iterator[str]:
    """Columns of a table that a run would leave out, or refuse; looked for in the rows as they are, before any is held out."""
    from contender.data.leaking import look_at, shares

    if pipeline.spec.facts.example is not None or not snapshot.record.source.rows:
        return
    named = {*(pipeline.spec.data.features.columns or ()), *pipeline.spec.data.features.made}
    read = set(features(pipeline, snapshot.record.source.columns)) - set(pipeline.spec.data.features.made)
    found = look_at(snapshot.folder / "source.arrow", read, columns(pipeline)["label"])
    if found.constant:
        yield f"all rows hold the same in {listed(found.constant)}: not read"
    if leaks := {name: share for name, share in found.leaks.items() if name not in named}:
        yield f"columns give the label away, and a run would stop: {shares(leaks)}; name them under data.features.drop"


def _warnings(looks: Sequence[NextLook], rules: Rules, labels: dict[str, int], snapshot: Snapshot) -> list[str]:
    found = [f"skipped {shorten(file.path, 300)}: {file.reason}" for file in snapshot.source.skipped[:20]]
    if unwanted := sum(file.left_out for file in snapshot.source.files):
        found.append(f"{unwanted:,} rows are left out: their label says that nobody wanted the answer")
    wanted = rules.versus.detectable_gain + max(leaf.min_gain for leaf, _ in rules.versus.leaves())
    known = [look.smallest_gain for look in looks if ACCURACY in look.metrics or look.units < FEWEST_UNITS]
    gain = _largest(known)
    if known and (gain is None or gain > wanted):
        shown = "no gain" if gain is None else f"only gains above {gain:.1%}"
        found.append(
            f"the held-out set can show {shown}: most better models will end as inconclusive; hold out more rows"
        )
    rare = [label for label, count in labels.items() if count < 2]
    if rare:
        found.append(f"{len(rare)} labels have a single row, such as {listed(rare[:1])}")
    return found
