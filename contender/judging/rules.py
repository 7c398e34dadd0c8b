"""What a challenger must show: the spec's sections that the judge reads, and the rules of one verdict.

Light to import: the spec holds these sections.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from contender import specrules
from contender.canonical import Record
from contender.errors import known
from contender.names import METRIC_NAMES, UNBOUNDED_METRICS
from contender.section import Metric, Section

RuleName = Literal["superior", "non_inferior"]
LEAF_KEYS = ("rule", "metric", "on", "min_gain", "margin")
DETECTABLE_GAIN = 0.03  # a set that cannot show three points keeps most better models from being promoted


Parts = Annotated[tuple["Requirement", ...], Field(min_length=1)]


class Requirement(Section):
    """One comparison with the champion; or several, of which `all` or `any` must hold."""

    rule: RuleName = Field(
        default="superior",
        description="superior: shown to be better; non_inferior: shown to be no worse than by margin",
    )
    metric: Metric | None = Field(default=None, description="default: the first of evaluate.metrics")
    on: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="test, or the name of a golden set; default: test, or the first golden set"
    )
    min_gain: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.0, description="superior by more than this")
    margin: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="non_inferior: the loss that is accepted"
    )
    all: Parts | None = Field(default=None, description="comparisons with the same keys; each must hold")
    any: Parts | None = Field(
        default=None, description="comparisons with the same keys; one must hold, and they share the error between them"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Requirement:
        fields = Requirement.model_fields
        said = [key for key in LEAF_KEYS if getattr(self, key) != fields[key].default]
        if self.all and self.any:
            raise ValueError("all and any go into each other, not beside each other: write any: [{all: […]}, …]")
        if (self.all or self.any) and said:
            raise ValueError(f"{said[0]} belongs into the comparisons below {'all' if self.all else 'any'}")
        if (self.rule == "non_inferior") != (self.margin is not None):
            raise ValueError("margin goes with rule: non_inferior, and is required there")
        if self.rule == "non_inferior" and self.min_gain:
            raise ValueError("min_gain goes with rule: superior")
        return self

    @property
    def parts(self) -> tuple[Requirement, ...]:
        """The comparisons that it is made of; none where it is one itself."""
        return self.all or self.any or ()

    def leaves(self, share: float = 1.0) -> Iterator[tuple[Requirement, float]]:
        """Every single comparison, with its share of the error: where one of several is enough, they divide it."""
        if not self.parts:
            yield self, share
        for part in self.parts:
            yield from part.leaves(share / len(self.any or (self,)))

    @property
    def threshold(self) -> float:
        """The gain that must be shown to be exceeded."""
        return self.min_gain if self.rule == "superior" else -(self.margin or 0.0)


class VersusChampion(Requirement):
    """What a challenger must show against the champion, on the test split where nothing else is said."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        default=0.95,
        description="1 − the chance that any challenger of a generation's whole life is promoted though it is not better; docs/judging.md",
    )
    detectable_gain: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=DETECTABLE_GAIN,
        description="the gain above min_gain that held-out rows should show with 80% power: check warns where they cannot, and rows "
        "never judged before become a generation of their own as soon as they can",
    )

    def worth(self, leaf: Requirement) -> float:
        """The gain above its threshold that a comparison should be able to show."""
        return self.detectable_gain if leaf.rule == "superior" else min(self.detectable_gain, leaf.margin or 1.0)


class Floor(Section):
    """An absolute value that a metric must reach."""

    value: Annotated[float, Field(ge=0)]
    by: Literal["estimate", "lower_bound"] = Field(
        default="estimate", description="what must reach it: the measured value, or its confidence bound"
    )


def floor(value: Any) -> Any:
    """A floor from a bare number."""
    return value if isinstance(value, dict | Floor) else {"value": value}


Floors = dict[str, Annotated[Floor, BeforeValidator(floor, json_schema_input_type=float | Floor)]]


def floors_within_reach(floors: dict[str, Floor]) -> dict[str, Floor]:
    """The floors themselves; a validator's error for metrics that are not known, and for values beyond a share."""
    found: list[specrules.Fault] = []
    for metric, one in floors.items():
        if metric not in METRIC_NAMES:
            found.append(((metric,), known("metric", metric, METRIC_NAMES)))
        elif one.value > 1 and metric not in UNBOUNDED_METRICS:
            hint = f"is {one.value:g}, and {metric} is a share between 0 and 1: write {one.value / 100:g}?"
            found.append(((metric,), hint))
    if found:
        raise specrules.misfits(found)
    return floors


Drop = Annotated[float, Field(ge=0, lt=1)] | None


class SliceGuard(Section):
    """The primary metric on each value of evaluate.slices."""

    max_drop: Drop = Field(default=None, description="how much lower the challenger may be on a slice")
    min_rows: Annotated[int, Field(ge=20)] = Field(
        default=50, description="slices with fewer rows are reported and not judged"
    )


class GoldenGuard(Section):
    """The primary metric on each golden set."""

    max_drop: Drop = Field(default=None, description="how much lower the challenger may be on a golden set")


class CalibrationGuard(Section):
    """The expected calibration error on the set that is judged on."""

    max_rise: Drop = Field(default=None, description="how much higher the challenger's calibration error may be")


class Guards(Section):
    """What a challenger must not spoil, however much better it is elsewhere."""

    slices: SliceGuard = SliceGuard()
    golden: GoldenGuard = GoldenGuard()
    calibration: CalibrationGuard = CalibrationGuard()
    model_size_mb: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="most megabytes (10^6 bytes) of the model's files"
    )
    latency_median_ms: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="most milliseconds for one example, at the median, on the machine that evaluates"
    )
    latency_p95_ms: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="most milliseconds that 95 of 100 examples may take, one at a time"
    )
    latency_ratio: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="most times the champion's median latency, both measured in turn"
    )
    strict: bool = Field(
        default=False,
        description="true: a guard must be shown to hold; false: it blocks where harm beyond it is measured and shown",
    )

    def timed(self, champion: bool) -> bool:
        """Whether any of them needs latencies; a ratio does only where there is a champion."""
        limits = [self.latency_median_ms, self.latency_p95_ms, self.latency_ratio if champion else None]
        return any(limit is not None for limit in limits)


class Rules(Record):
    """Everything that one verdict asks; `on` is the set that floors and guards are measured on."""

    primary: str
    on: str = "test"
    floors: Floors = {}
    versus: VersusChampion = VersusChampion()
    guards: Guards = Guards()
    rated: str | None = None  # digest of what decides how good an answer is, beside the metric's own code

    def metric_of(self, leaf: Requirement) -> str:
        return leaf.metric or self.primary

    def set_of(self, leaf: Requirement) -> str:
        """The held-out set's own name: a golden set's is `golden-` and its name in the spec."""
        return set_name(leaf.on) if leaf.on else self.on

    def compared_on(self) -> list[str]:
        """The sets that comparisons with the champion look at, each once, the first rule's first."""
        return list(dict.fromkeys(self.set_of(leaf) for leaf, _ in self.versus.leaves()))

    def metrics(self) -> set[str]:
        """Every metric that a rule reads."""
        guarded = {"calibration_error"} if self.guards.calibration.max_rise is not None else set()
        return {self.primary, *self.floors, *guarded, *(self.metric_of(leaf) for leaf, _ in self.versus.leaves())}

    def all_on(self, held_out: str) -> Rules:
        """The same comparisons and floors, all of them on one set, and no guards."""

        def moved(rule: Requirement) -> dict[str, Any]:
            fields = rule.model_dump(exclude={"on", "all", "any"})
            for name in ("all", "any"):
                parts: Parts | None = getattr(rule, name)
                fields[name] = [moved(part) for part in parts] if parts else None
            return fields

        return Rules(
            primary=self.primary,
            on=held_out,
            floors=self.floors,
            rated=self.rated,
            versus=VersusChampion.model_validate(moved(self.versus)),
        )


def set_name(on: str) -> str:
    """A held-out set's own name, from what a spec or a person calls it."""
    return on if on == "test" or on.startswith("golden-") else f"golden-{on}"
