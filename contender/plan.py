"""Which part of a spec each stage depends on, and the keys that follow from it.

A stage's key digests its own part of the spec, the digests of what it reads, and its revision: an integer that is raised when
the same inputs give another output. What is not in the part cannot change the key: editing `promote.floors` judges again and
trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contender.names import EXAMPLE, PATH, SCOPE_METRICS
from contender.records import digest
from contender.spec import Pipeline

# Raise a number when the stage's output changes for the same inputs; tests/core/test_revisions.py notices.
REVISIONS = {
    "snapshot": 1,
    "gate": 3,
    "split": 2,
    "fraction": 1,
    "candidate": 2,
    "asked": 1,
    "selection": 1,
    "trial": 2,
    "search": 1,
    "cross-validate": 1,
    "monitor": 1,
    "train": 2,
    "compress": 1,
    "fetch": 1,
    "base": 1,
    "predict": 1,
    "rate": 1,
    "latency": 2,
    "evaluate": 1,
    "judge": 3,
    "explain": 1,
    "estimate": 1,
}

# Dotted key of the spec → what reads it: stages, whose keys it changes, and effects outside the workspace.
CONSUMERS: dict[str, frozenset[str]] = {
    "name": frozenset({"registry"}),
    "task": frozenset({"snapshot", "gate", "split", "train", "release"}),
    "workspace": frozenset({"workspace"}),
    "data.source": frozenset({"snapshot"}),
    "data.columns": frozenset({"snapshot", "gate", "split", "release"}),
    "data.csv.delimiter": frozenset({"snapshot"}),
    "data.csv.header": frozenset({"snapshot"}),
    "data.csv.encoding": frozenset({"snapshot"}),
    "data.features.columns": frozenset({"snapshot", "split", "train"}),
    "data.features.drop": frozenset({"split", "train"}),
    "data.features.categorical": frozenset({"snapshot", "split", "train"}),
    "data.features.history.time": frozenset({"snapshot", "split", "train"}),
    "data.features.history.entities": frozenset({"snapshot", "split", "train"}),
    "data.features.history.values": frozenset({"snapshot", "split", "train"}),
    "data.features.history.windows": frozenset({"split", "train"}),
    "data.features.history.label_delay": frozenset({"split", "train"}),
    "data.split.by": frozenset({"snapshot", "split"}),
    "data.split.column": frozenset({"snapshot", "split"}),
    "data.split.gap": frozenset({"split"}),
    "data.split.test": frozenset({"split"}),
    "data.split.validation": frozenset({"split"}),
    "data.split.key": frozenset({"snapshot", "split"}),
    "data.split.near_duplicates": frozenset({"split"}),
    "data.golden": frozenset({"snapshot", "evaluate"}),
    "quality.suite": frozenset({"gate"}),
    "quality.bad_rows": frozenset({"gate"}),
    "quality.max_bad_fraction": frozenset({"gate"}),
    "quality.in_memory_rows": frozenset({"gate"}),
    "model.base": frozenset({"train"}),
    "model.init": frozenset({"train"}),
    "model.method": frozenset({"train"}),
    "model.lora": frozenset({"train"}),
    "model.config": frozenset({"train"}),
    "model.generation": frozenset({"train"}),
    "train": frozenset({"train"}),
    "selection": frozenset({"selection"}),
    "selection.api_key": frozenset({"api key"}),
    "search": frozenset({"search"}),
    "cross_validation": frozenset({"cross-validate"}),
    # With the first of them, and no rule of the spec's own, the judge asks for other things.
    "compress.quantize": frozenset({"compress", "judge"}),
    "compress.distill.to": frozenset({"compress", "judge"}),
    "compress.distill": frozenset({"compress"}),
    "evaluate.metrics": frozenset({"evaluate"}),
    "evaluate.positive": frozenset({"split", "train"}),
    "evaluate.answer": frozenset({"rate", "monitor", "evaluate", "judge"}),
    "evaluate.judge": frozenset({"rate", "monitor", "evaluate", "judge"}),
    "evaluate.out_of_scope": frozenset({"evaluate"}),
    "evaluate.slices": frozenset({"snapshot", "split", "evaluate"}),
    "promote.to": frozenset({"registry"}),
    "promote.alias": frozenset({"alias"}),
    "promote.floors": frozenset({"judge"}),
    "promote.versus_champion": frozenset({"judge"}),
    "promote.guards": frozenset({"judge"}),
    "promote.signing_key": frozenset({"signature"}),
    "promote.single_writer": frozenset({"writer"}),
    "stores": frozenset({"stores"}),
    "concurrency": frozenset({"turn"}),
    "resources.max_recoveries": frozenset({"recovery"}),
    "resources.checkpoint": frozenset({"checkpoints"}),
    "resources.parallel": frozenset({"side by side"}),
    **{f"resources.budget.{name}": frozenset({"budget"}) for name in ("hours", "cost", "kwh", "when_spent")},
    "resources.budget.price_per_hour": frozenset({"budget", "cost"}),
    "report.examples": frozenset({"report"}),
    "report.base_url": frozenset({"links"}),
    "schedule": frozenset({"schedule"}),
    "triggers.new_data": frozenset({"new data"}),
    "triggers.degradation": frozenset({"degradation"}),
    "triggers.webhook": frozenset({"webhook"}),
    "notify": frozenset({"notification"}),
}

# The stages that a run tells of, in the order of flows/retrain.py. A run without a champion leaves `monitor` out.
RUN = (
    *("snapshot", "gate", "split", "monitor", "selection", "search", "cross-validate"),
    *("train", "compress", "release", "evaluate"),
)
JUDGED = ("judge", "explain", "latency", "report", "promote")
JUDGED_BY_LATENCY = ("latency", "judge", "explain", "report", "promote")
# Those of flows/noise.py and flows/curve.py: some once, and some for each training.
MEASURED_ONCE, NOISE_EACH, CURVE_EACH = ("snapshot", "gate", "split"), ("train", "noise"), ("train", "curve")


def run_stages(pipeline: Pipeline) -> tuple[str, ...]:
    """What a run of the pipeline is expected to do, in order; latencies that a guard asks for are measured before the judge's look."""
    spec = pipeline.spec
    folds = spec.cross_validation is not None and spec.search is None  # a search's trials have folds of their own
    sections = {"selection": spec.selection is not None, "search": spec.search is not None}
    asked = sections | {"compress": spec.compress.asked, "cross-validate": folds}
    made = tuple(stage for stage in RUN if asked.get(stage, True))
    judged = JUDGED_BY_LATENCY if pipeline.spec.promote.guards.timed(champion=True) else JUDGED
    explains = pipeline.spec.facts.explains and pipeline.spec.report.examples != "none"
    return made + tuple(stage for stage in judged if stage != "explain" or explains)


def noise_stages(runs: int) -> tuple[str, ...]:
    """What measuring the noise with so many trainings does, in order."""
    return (*MEASURED_ONCE, *NOISE_EACH * runs)


def curve_stages(fractions: Sequence[float], seeds: int) -> tuple[str, ...]:
    """What drawing the curve does, in order: all parts of the training rows are made before the first training."""
    parts_made = ("fraction",) * sum(fraction < 1 for fraction in fractions)
    return (*MEASURED_ONCE, *parts_made, *CURVE_EACH * (len(fractions) * seeds))


# Stages that read nothing of the spec by themselves: what they are given says it.
READ_NOTHING = (
    *("estimate", "fraction", "candidate", "asked", "trial"),
    *("fetch", "base", "predict", "latency", "explain"),
)


def parts(pipeline: Pipeline) -> dict[str, Any]:
    """Stage or effect → the part of the spec that it reads; nothing else of the spec may reach it."""
    spec = pipeline.spec
    data, split, promote = spec.data, spec.data.split, spec.promote
    rated = rating(pipeline)
    return {
        "snapshot": {
            "source": data.source,
            "golden": data.golden,
            "csv": data.csv.model_dump(),
            "required": required_columns(pipeline),
            **({"media": media, "media_column": columns(pipeline)[media]} if (media := spec.facts.media) else {}),
            **({"chat": {**spec.data.columns, **columns(pipeline)}} if spec.facts.parts else {}),
        },
        "gate": {
            "task": spec.task,
            "columns": columns(pipeline),
            "quality": spec.quality.model_dump(),
            "suite": pipeline.suite,
        },
        "split": {
            "columns": columns(pipeline),
            "split": split.model_dump(),
            "slices": spec.evaluate.slices,
            "features": data.features.model_dump(),
            "positive": spec.evaluate.positive,
            **({"kept": PATH} if spec.facts.media else {}),
            **({"times": True} if split.by == "time" else {}),
        },
        "train": {
            "task": spec.task,
            "model": spec.model.read(writes=spec.facts.writes),
            "train": spec.train.model_dump(),
            "primary": spec.evaluate.metrics[0],
            "features": data.features.model_dump(),
            "positive": spec.evaluate.positive,
            **({"out_of_scope": chosen} if (chosen := chosen_by_scope(pipeline)) else {}),
        },
        "selection": spec.selection and spec.selection.model_dump(exclude={"api_key"}),
        "api key": spec.selection and spec.selection.api_key,
        "search": spec.search and spec.search.model_dump(),
        "cross-validate": spec.cross_validation and spec.cross_validation.model_dump(),
        "compress": spec.compress.model_dump(),
        "release": {"task": spec.task, "columns": columns(pipeline)},
        "evaluate": {
            "sets": sorted(data.golden),
            "metrics": spec.evaluate.metrics,
            "slices": spec.evaluate.slices,
            **rated,
            **({"out_of_scope": label} if (label := spec.evaluate.out_of_scope) else {}),
        },
        "judge": {
            "on": judged_set(pipeline),
            "primary": spec.evaluate.metrics[0],
            "floors": {name: floor.model_dump() for name, floor in promote.floors.items()},
            "versus_champion": promote.versus_champion.model_dump(),
            "guards": promote.guards.model_dump(),
            **rated,
        },
        **{name: {} for name in READ_NOTHING},
        "monitor": rated,
        "rate": rated,
        "report": spec.report.model_dump(exclude={"base_url"}),
        "links": spec.report.base_url,
        "registry": {"to": promote.to, "name": spec.name},
        "alias": promote.alias,
        "signature": promote.signing_key,
        "writer": promote.single_writer,
        "workspace": spec.workspace,
        "turn": spec.concurrency,
        "recovery": spec.resources.max_recoveries,
        "checkpoints": spec.resources.checkpoint.model_dump(),
        "side by side": spec.resources.parallel,
        "budget": spec.resources.budget.model_dump(),
        "cost": spec.resources.budget.price_per_hour,
        "schedule": [schedule.model_dump(mode="json") for schedule in spec.schedule],
        **{name.replace("_", " "): found for name, found in spec.triggers.model_dump(mode="json").items()},
        "notification": [section.model_dump(mode="json") for section in spec.notify],
        "stores": {prefix: store.model_dump() for prefix, store in spec.stores.items()},
    }


def stage_key(pipeline: Pipeline, stage: str, **inputs: Any) -> str:
    """The first 32 hex digits of the digest over the stage's revision, its part of the spec, and what it reads."""
    return digest({"stage": stage, "revision": REVISIONS[stage], "spec": parts(pipeline)[stage], "inputs": inputs})[:32]


def columns(pipeline: Pipeline) -> dict[str, str]:
    """Role → column, for every role of the pipeline's kind."""
    return pipeline.spec.columns


def required_columns(pipeline: Pipeline) -> list[str]:
    """Columns that every file must have: of the roles, the slices, the split's key and time, and those that features name."""
    by_role, spec = columns(pipeline), pipeline.spec
    named = [name for name in (spec.data.split.key, spec.data.split.column) if name not in (EXAMPLE, None)]
    others = (by_role.get(name, name) for name in (*named, *spec.evaluate.slices))
    return sorted({*by_role.values(), *others, *spec.data.features.needed} - set(spec.data.features.made))


def rating(pipeline: Pipeline) -> dict[str, Any]:
    """What decides, beside a model's answers, how good they are; {} where nothing does."""
    evaluate = pipeline.spec.evaluate
    found = {"answer": evaluate.answer, "judge": evaluate.judge and [evaluate.judge, pipeline.judge]}
    return {name: value for name, value in found.items() if value is not None}


def features(pipeline: Pipeline, found: Sequence[str]) -> tuple[str, ...]:
    """The columns that the model of a table reads, of those that there are; none where the task reads its roles."""
    from contender.data.examples import BESIDE

    spec = pipeline.spec
    if spec.facts.example is not None:
        return ()
    # A snapshot has a role's column under its own name, a split under the role's.
    roles = columns(pipeline)
    others = (*roles, *roles.values(), spec.data.split.key, spec.data.split.column, *BESIDE)
    return spec.data.features.chosen(found, [name for name in others if name is not None])


def kept_columns(pipeline: Pipeline, found: Sequence[str]) -> tuple[str, ...]:
    """The columns without a role that a split keeps: those of slices, those that a table's model reads, and the paths of media, for
    people; `found`: what there is."""
    paths = {PATH} if pipeline.spec.facts.media else set()
    return tuple(sorted({*pipeline.spec.evaluate.slices, *features(pipeline, found), *paths}))


def chosen_by_scope(pipeline: Pipeline) -> str | None:
    """The label that means out of scope where the best checkpoint is chosen by it; else a training need not know it."""
    evaluate = pipeline.spec.evaluate
    return evaluate.out_of_scope if evaluate.metrics[0] in SCOPE_METRICS else None


def judged_set(pipeline: Pipeline) -> str:
    """The set that floors are judged on, and comparisons that name no other: test, or the first golden set without one."""
    return "test" if pipeline.spec.data.split.test else f"golden-{next(iter(pipeline.spec.data.golden))}"


def decision_prefix(pipeline: Pipeline, snapshot_digest: str) -> str:
    """Decisions of this spec on this snapshot have keys that begin so; the alias entry judged against follows."""
    return f"{pipeline.digest[:16]}-{snapshot_digest[:16]}-"
