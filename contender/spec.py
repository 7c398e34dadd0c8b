"""The spec: everything about one model that is kept up to date, in one YAML file.

Frozen pydantic models that refuse unknown keys. contender/loading.py reads a file into them and reports its faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)
from pydantic.json_schema import WithJsonSchema

from contender import specrules
from contender.compressspec import Compress, with_defaults
from contender.crossvalidationspec import CrossValidation
from contender.errors import known
from contender.evaluatespec import Evaluate
from contender.features import Features
from contender.features import faults as feature_faults
from contender.files import expanded
from contender.judging.rules import Floors, Guards, VersusChampion, floors_within_reach, set_name
from contender.modelspec import Model
from contender.names import EXAMPLE, TASKS, Task
from contender.notifications import Notifications
from contender.records import Record, digest
from contender.resourcespec import Resources
from contender.schedules import Schedules
from contender.searchspec import Search, Values, changed, default_space, without_primary
from contender.secretref import check_reference
from contender.section import Section
from contender.selectionspec import Selection, with_selection
from contender.splitspec import Column, SplitOptions
from contender.training.options import GenerationOptions, TrainOptions
from contender.triggers import Triggers

Location = Annotated[str, AfterValidator(specrules.location)]
Folder = Annotated[str, AfterValidator(specrules.folder)]
Name = Annotated[str, AfterValidator(specrules.name)]


class CsvOptions(Section):
    """How csv and tsv files are written."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1), AfterValidator(specrules.delimiter)] | None = Field(
        default=None, description="one character; by default a comma, and a tab for .tsv"
    )
    header: Annotated[
        bool | Annotated[tuple[Column, ...], Field(min_length=1)], BeforeValidator(specrules.csv_header)
    ] = Field(default=True, description="false, or the names, where the first line is data")
    encoding: Annotated[str, AfterValidator(specrules.encoding)] = Field(
        default="utf-8", description="a Python codec name; a byte order mark wins"
    )


class Data(Section):
    """Where rows come from and what their columns mean."""

    source: Location = Field(
        description="folder, file or glob; local or s3://; csv, tsv, jsonl, json, parquet, arrow, conll, gz of each; "
        "for pictures and sounds also the files themselves, by folders named after their labels, zip and tar archives of them, and "
        "tables of their paths"
    )
    columns: dict[str, Column] = Field(default={}, description="role → column; a role left out has its own name")
    csv: CsvOptions = CsvOptions()
    features: Features = Features()
    split: SplitOptions = SplitOptions()
    golden: dict[Name, Location] = Field(default={}, description="name → files that are only ever judged on")


class Quality(Section):
    """What data must satisfy before anything trains on it."""

    suite: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="a Great Expectations suite; a bare name ships; default by task"
    )
    bad_rows: Literal["quarantine", "stop"] = Field(
        default="quarantine", description="quarantine: set aside, with the reasons; stop: the first one stops the run"
    )
    max_bad_fraction: Annotated[float, Field(ge=0, le=1)] = Field(default=0.02, description="above it the run stops")
    in_memory_rows: Annotated[int, Field(ge=1)] = Field(
        default=1_000_000,
        description="an expectation that cannot be checked in chunks or in SQLite is refused above it",
    )


class Promote(Section):
    """Where releases live, and what it takes to become the live one."""

    to: Location = Field(
        default=".contender/registry", description="the registry: a local folder or s3://bucket/prefix"
    )
    alias: Name = Field(default="production", description="the name that the live release has")
    floors: Annotated[Floors, AfterValidator(floors_within_reach)] = Field(
        default={}, description="metric → lowest (or highest) value, or {value: …, by: lower_bound}"
    )
    versus_champion: VersusChampion = VersusChampion()
    guards: Guards = Guards()
    signing_key: Annotated[str, AfterValidator(check_reference)] | None = Field(
        default=None, description="where the Ed25519 key is that signs releases: env:NAME or file:/path of a PEM"
    )
    single_writer: bool = Field(
        default=False,
        description="you promise that nothing else writes to this registry at the same time: a store without create-only is then "
        "accepted, and this pipeline's runs wait for each other's promotions; docs/storage.md",
    )


class StoreOptions(Section):
    profile: Annotated[str, Field(min_length=1)] = Field(
        description="a profile of your AWS configuration; never keys here"
    )


class Report(Section):
    examples: Literal["none", "redacted", "full"] = Field(
        default="redacted", description="row text that the report may show"
    )
    base_url: Annotated[str, AfterValidator(specrules.web_address)] | None = Field(
        default=None, description="http(s) URL under which people reach the registry: links to reports begin with it"
    )


class Spec(Section):
    """One pipeline."""

    name: Name = Field(description="lower-case letters, digits and hyphens")
    task: Annotated[str, AfterValidator(specrules.task), WithJsonSchema({"enum": sorted(TASKS), "type": "string"})] = (
        Field(description="a Hugging Face task name")
    )
    workspace: Folder = Field(
        default=".contender/",
        description="for heavy intermediates: a local folder, or an s3:// prefix that workers on several machines share",
    )
    data: Data
    quality: Quality = Quality()
    model: Model
    train: Annotated[TrainOptions, BeforeValidator(specrules.no_flags)] = TrainOptions()
    selection: Selection | None = Field(
        default=None, description="how the bases are compared where model.base names several"
    )
    search: Search | None = Field(
        default=None, description="which options of train and model are tried; none: those above alone"
    )
    cross_validation: CrossValidation | None = Field(
        default=None,
        description="whether models are validated on every part of the rows in turn; none: on one part alone",
    )
    compress: Compress = Compress()
    evaluate: Evaluate = Evaluate()
    promote: Promote = Promote()
    stores: dict[Annotated[str, Field(pattern=r"^s3://.+")], StoreOptions] = Field(
        default={}, description="s3:// prefix → how to reach it; the longest matching prefix wins"
    )
    concurrency: Literal["queue", "skip"] = Field(
        default="queue", description="what a run does while another one of this pipeline is at work"
    )
    resources: Resources = Resources()
    report: Report = Report()
    schedule: Schedules = Field(default=(), description="when it runs by the clock: one schedule, or a list")
    triggers: Triggers = Triggers()
    notify: Notifications = Field(default=(), description="who is told what a run came to: one section, or a list")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_task(cls, value: Any) -> Any:
        """What a spec leaves out and each kind of task has another default for."""
        task = TASKS.get(value["task"]) if isinstance(value, dict) and isinstance(value.get("task"), str) else None
        if task is None:
            return value
        value = specrules.filled(
            with_selection(with_defaults(value)), ("data", "split", "key"), task.example or EXAMPLE
        )
        value = specrules.filled(value, ("evaluate", "metrics"), task.default_metrics)
        if task.beams is not None:
            value = specrules.filled(value, ("model", "generation", "beams"), task.beams)
        if task.base is not None:
            value = specrules.filled(value, ("model", "base"), task.base)
            value = specrules.filled(value, ("model", "init"), task.inits[0])
        if isinstance(value.get("search"), dict) and isinstance(value.get("model"), dict):
            model = value["model"]
            space = default_space(task, model.get("method", task.methods[0]), model.get("init", "pretrained"))
            value = without_primary(specrules.filled(value, ("search", "space"), space))
        return value

    @model_validator(mode="after")
    def _sections_agree(self) -> Spec:
        found = [*self._role_faults(), *self._task_faults(), *self._split_faults(), *self._rule_faults()]
        asked = (section for section in (self.selection, self.search) if section)
        if found := found or [fault for section in asked for fault in section.faults(self)]:
            raise specrules.misfits(found)
        return self

    def with_changes(self, changes: Values) -> Spec:
        """The spec with other values of dotted keys, without its search; pydantic's ValidationError where it cannot have them."""
        return Spec.model_validate(changed(self.model_dump(mode="json"), changes))

    def with_base(self, base: str) -> Spec:
        """The spec with this one of its bases, and nothing to select: as if it had named no other."""
        own = self.model.model_copy(update={"base": base})
        return self.model_copy(update={"model": own, "selection": None})

    def _role_faults(self) -> Iterator[specrules.Fault]:
        roles = (*self.facts.roles, *self.facts.parts)
        for role in self.data.columns:
            if role not in roles:
                yield ("data", "columns", role), known("role", role, roles)
        if fault := specrules.parts_fault(self.data.columns, self.facts):
            yield ("data", "columns"), fault
        played: dict[str, str] = {}
        for role, column in {**self.columns, **self.data.columns}.items():
            if column in played:
                yield ("data", "columns", role), f"is {column!r}, which is also the column of {played[column]}"
            played.setdefault(column, role)

    def _task_faults(self) -> Iterator[specrules.Fault]:
        for name in self.evaluate.metrics:
            if name not in self.facts.metrics:
                yield ("evaluate", "metrics"), f"{self.task} has no {known('metric', name, self.facts.metrics)}"
        for key, value, allowed in (
            ("method", self.model.method, self.facts.methods),
            ("init", self.model.init, self.facts.inits),
        ):
            if value not in allowed:
                yield ("model", key), f"is {value!r}, and {self.task} takes {' or '.join(allowed)}"
        features, golden = self.data.features, bool(self.data.golden)
        yield from feature_faults(features, self.task, self.columns, golden, self.evaluate.positive)
        if self.train.augment != "none" and (not self.facts.media or self.model.method != "full"):
            why = "features are computed once" if self.facts.media else f"{self.task} reads no pictures and no sounds"
            yield ("train", "augment"), f"is {self.train.augment!r}, and {why}"
        yield from self.train.faults(self.model.method, self.model.init, self.model.config)
        if self.facts.labels == "none" and self.train.class_weights != "none":
            yield ("train", "class_weights"), f"is {self.train.class_weights!r}, and {self.task} has no classes"
        if self.train.packing and self.task != "text-generation":
            yield ("train", "packing"), f"is for text-generation, and {self.task} packs nothing"
        yield from self._answer_faults()
        yield from specrules.scope_faults(
            self.evaluate.out_of_scope,
            self.task,
            {*self.evaluate.metrics, *self.promote.floors, *self._compared_metrics},
        )
        yield from self.compress.faults(self.task, self.facts)
        if not self.facts.writes and self.model.generation != GenerationOptions():
            yield ("model", "generation"), f"is for tasks whose answer is written, and {self.task} writes none"

    def _answer_faults(self) -> Iterator[specrules.Fault]:
        for key, value, metric in (
            ("answer", self.evaluate.answer, "exact_match"),
            ("judge", self.evaluate.judge, "win_rate"),
        ):
            if value is not None and metric not in self.evaluate.metrics:
                yield ("evaluate", key), f"is for {metric}, which evaluate.metrics does not name"
        if "win_rate" in self.evaluate.metrics and self.evaluate.judge is None:
            yield (
                ("evaluate", "judge"),
                "is missing: win_rate needs the function that compares, such as judge.py:prefer",
            )

    def _split_faults(self) -> Iterator[specrules.Fault]:
        split = self.data.split
        if not split.test and not self.data.golden:
            yield ("data", "split", "test"), "is 0 and there are no golden sets: nothing is left to judge on"
        column = self.columns.get(split.key, split.key)
        if column == self.columns[self.facts.target] != self.columns.get(self.facts.example or ""):
            yield (
                ("data", "split", "key"),
                f"is the {self.facts.target}: all rows of a {self.facts.target} would fall into the same set",
            )

    def _rule_faults(self) -> Iterator[specrules.Fault]:
        sets = [*(["test"] if self.data.split.test else []), *(f"golden-{name}" for name in self.data.golden)]
        for leaf, _ in self.promote.versus_champion.leaves():
            if leaf.on is not None and set_name(leaf.on) not in sets:
                yield ("promote", "versus_champion"), f"on: {known('held-out set', leaf.on, sets)}"
            if (metric := leaf.metric or self.evaluate.metrics[0]) == "calibration_error":
                yield (
                    ("promote", "versus_champion"),
                    f"no test of {metric} keeps its level: compare by another metric, and guard it",
                )
        guards = self.promote.guards
        if guards.slices.max_drop is not None and not self.evaluate.slices:
            yield ("promote", "guards", "slices"), "guards the columns of evaluate.slices, and there are none"
        if guards.golden.max_drop is not None and not self.data.golden:
            yield ("promote", "guards", "golden"), "guards the sets of data.golden, and there are none"

    @property
    def _compared_metrics(self) -> set[str]:
        """That rules and triggers name themselves."""
        worse = self.triggers.degradation
        named = [leaf.metric for leaf, _ in self.promote.versus_champion.leaves()] + ([worse.metric] if worse else [])
        return {name for name in named if name is not None}

    @property
    def facts(self) -> Task:
        """What is known of the task."""
        return TASKS[self.task]

    @property
    def columns(self) -> dict[str, str]:
        """Role → column, for every role of the task."""
        return {role: self.data.columns.get(role, role) for role in self.facts.roles}

    def profile(self, url: str) -> str | None:
        """The AWS profile for `url`, by the longest prefix that it lies below, with or without a slash at the end of either."""
        matching = [prefix for prefix in self.stores if f"{url.rstrip('/')}/".startswith(f"{prefix.rstrip('/')}/")]
        return self.stores[max(matching, key=len)].profile if matching else None


class Pipeline(Record):
    """A spec as a run takes it: by value, with its suite, and the folder that its relative paths start from."""

    spec: Spec
    folder: str
    suite_name: str
    suite: dict[str, Any]
    judge: str | None = None  # the text of the file that evaluate.judge names

    @property
    def digest(self) -> str:
        """Of what a run comes to: the spec with defaults and the suite, less where it computes, how it recovers, what starts it, who
        is told, and where people click."""
        left_out: Any = dict.fromkeys(("workspace", "resources", "concurrency", "schedule", "triggers", "notify"), True)
        left_out["promote"] = {"single_writer"}
        left_out["report"] = {"base_url"}
        optional = ("selection", "search", "cross_validation")
        left_out |= dict.fromkeys((one for one in optional if getattr(self.spec, one) is None), True)
        if self.spec.resources.budget.when_spent == "judge":  # then it decides how good a model gets
            left_out["resources"] = {"max_recoveries", "checkpoint"}
        spec = self.spec.model_dump(mode="json", exclude=left_out)
        # The order of golden sets decides which one is judged on, and canonical JSON forgets it.
        judge = {} if self.judge is None else {"judge": self.judge}
        return digest({"spec": spec, "golden": list(self.spec.data.golden), "suite": self.suite, **judge})

    def path(self, location: str) -> str:
        """A location of the spec: a URL as it is, a path made absolute from the YAML's folder."""
        return location if "://" in location else str(Path(self.folder, expanded(location)))


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the spec, for editors and for docs/spec.schema.json."""
    schema = Spec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Contender pipeline"} | {
        key: value for key, value in schema.items() if key != "title"
    }
