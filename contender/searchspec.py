"""The spec's section `search`: which values of which keys are tried before a model is trained, and when that is enough.

Light to import: the spec holds its values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from contender import specrules
from contender.errors import known
from contender.names import COSTS, METRIC_NAMES, Task
from contender.section import Section
from contender.training.options import LoraOptions, TrainOptions

if TYPE_CHECKING:
    from contender.spec import Spec

Value = bool | int | float | str
Method = Literal["grid", "random", "bayesian"]
Values = Mapping[str, Value]

# Not searched: the luckiest seed on validation is the luckiest there alone, and what computes the same in another way is no choice.
NOT_SEARCHED = ("seed", "deterministic", "precision")
KEYS = (
    *(f"train.{name}" for name in TrainOptions.model_fields if name not in NOT_SEARCHED),
    "model.method",
    *(f"model.lora.{name}" for name in LoraOptions.model_fields if name != "targets"),
)
# Peak learning rates, by what is trained: around what `auto` takes, to where trainings stop learning or break.
RATES = {
    "full": (1e-5, 1e-3),
    "scratch": (1e-4, 1e-2),
    "lora": (1e-4, 1e-2),
    "qlora": (1e-4, 1e-2),
    "head": (1e-4, 1e-1),
}
MOST_COMBINATIONS = 10_000
ROUNDING = 1e-9  # of a step: 0.1 + 2 × 0.1 is to reach 0.3
LEAST = 2  # trials: with one there is nothing to choose between


def _one_or_several(value: Any) -> Any:
    """A list stands for its values."""
    return {"values": value} if isinstance(value, list | tuple) else value


def _objective(name: str) -> str:
    if name not in (*METRIC_NAMES, *COSTS):
        raise ValueError(known("metric", name, (*METRIC_NAMES, *COSTS)))
    return name


def _objectives(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names an objective twice")
    return tuple(map(_objective, names))


class Parameter(Section):
    """What one key may be: some values, or a range."""

    values: Annotated[tuple[Value, ...], Field(min_length=1)] | None = Field(
        default=None, description="each of these; a list alone means the same"
    )
    low: int | float | None = Field(
        default=None, description="with `high`: from here on; whole numbers alone where both are written as such"
    )
    high: int | float | None = Field(default=None, description="up to here, and this too")
    scale: Literal["linear", "log"] = Field(
        default="linear", description="log: every factor is as likely, as for learning rates"
    )
    step: Annotated[int | float, Field(gt=0)] | None = Field(
        default=None, description="only low, low + step, low + 2 × step…"
    )
    when: dict[
        str, Annotated[tuple[Value, ...], BeforeValidator(lambda v: v if isinstance(v, list | tuple) else (v,))]
    ] = Field(
        default={},
        description="other key of the space → its values, with which this one matters; else it is left as it is",
    )

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Parameter:
        if (self.values is None) == (self.low is None and self.high is None):
            raise ValueError("takes either values, or low and high")
        if self.values is not None:
            if self.step is not None or self.scale != "linear":
                raise ValueError("step and scale are for low and high")
            if len(set(map(repr, self.values))) < len(self.values):
                raise ValueError("names a value twice")
            return self
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("takes low and high, and low is less than high")
        if self.scale == "log" and (self.low <= 0 or self.step is not None):
            raise ValueError("on a log scale low is above 0, and there is no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether a range is of whole numbers."""
        return all(bound is None or isinstance(bound, int) for bound in (self.low, self.high, self.step))

    @property
    def ends(self) -> tuple[Any, ...]:
        """Its values; of a range the first and the last: where those are allowed, all between are."""
        if self.values is not None:
            return self.values
        return (self.low or 0, self.high or 0)

    @property
    def listed(self) -> tuple[Value, ...] | None:
        """Every value there is, for a grid; None where a range has no step to it."""
        if self.values is not None:
            return self.values
        low, high = self.ends
        step = self.step or (1 if self.whole and self.scale == "linear" else None)
        if step is None:
            return None
        return tuple(low + at * step for at in range(math.floor((high - low) / step + ROUNDING) + 1))

    def active(self, others: Values) -> bool:
        """Whether it matters beside these values of other keys."""
        return all(key in others and others[key] in wanted for key, wanted in self.when.items())


Space = dict[str, Annotated[Parameter, BeforeValidator(_one_or_several)]]


class Search(Section):
    """Trainings with other options than the spec's own; the best on validation is released, judged and perhaps promoted."""

    method: Method = Field(
        default="bayesian",
        description="bayesian: from what trials came to, by TPE; by a Gaussian process with prune none and at most 4 keys; random; "
        "grid: every combination",
    )
    space: Space = Field(
        default={},
        description="key of train, model.method or model.lora → its values, or its range; by default learning_rate, batch_size and "
        "weight_decay of train, in ranges by task and method, and augment of pictures and sounds",
    )
    trials: Annotated[int, Field(ge=LEAST, le=1000)] | None = Field(
        default=None,
        description="trainings, the spec's own options among them; by default 20, and with grid one more than combinations",
    )
    prune: Literal["asha", "median", "none"] = Field(
        default="asha",
        description="which trials are stopped: asha: those that after a third of their epochs are not in the best third of what got "
        "so far; median: from there on those worse than half of it; with objectives none",
    )
    stop_when: dict[Annotated[str, AfterValidator(_objective)], float] = Field(
        default={},
        description="metric, or objective → value on validation: the trial that reaches all of them is the last",
    )
    objectives: Annotated[tuple[str, ...], AfterValidator(_objectives)] = Field(
        default=(),
        description="what counts beside the primary metric, the most important first: metrics of evaluate.metrics, latency_ms (the "
        "median of one prediction at a time), size_mb, train_seconds",
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        default=0.0,
        description="how much worse than the best trial's primary metric, in its own units, that of the chosen one may be: of those trials "
        "the best in the next objective is chosen",
    )
    around: Literal["champion"] | None = Field(
        default=None,
        description="champion: its options are the second trial, and ranges are searched in a third of their width around its values",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_pruning(cls, value: Any) -> Any:
        """Pruning looks at the score alone, and would end a small, fast model for what it is not meant to be best in."""
        return {"prune": "none", **value} if isinstance(value, dict) and value.get("objectives") else value

    @property
    def given(self) -> tuple[Values, ...]:
        """The values of the first trials, which nothing chooses: the spec as it stands, so that no search comes to less than none."""
        return ({},)

    @property
    def most(self) -> int:
        """Trials, at most."""
        if self.method != "grid":
            return self.trials or 20
        size = len(self.combinations()) + len(self.given)
        return min(self.trials or size, size)

    @property
    def text(self) -> str:
        """What a run would do, for people."""
        others = ", ".join(sorted(self.space))
        aims = f", weighing {', '.join(self.objectives)} too" if self.objectives else ""
        start = f", around the {self.around}" if self.around else ""
        return f"at most {self.most:,} trainings like that one, with other {others} ({self.method}, prune {self.prune}{start}){aims}"

    @property
    def ordered(self) -> list[tuple[str, Parameter]]:
        """The space, by name, and behind all others the keys that only matter beside these: a file's order may get lost on its way."""
        return sorted(self.space.items(), key=lambda entry: (bool(entry[1].when), entry[0]))

    def combinations(self) -> list[dict[str, Value]]:
        """Of a grid; a key that does not matter beside others is left out, and none comes twice."""
        found: dict[str, dict[str, Value]] = {}
        for values in product(*(parameter.listed or () for _, parameter in self.ordered)):
            chosen: dict[str, Value] = {}
            for (key, parameter), value in zip(self.ordered, values, strict=True):
                if parameter.active(chosen):
                    chosen[key] = value
            found.setdefault(repr(chosen), chosen)
        return list(found.values())

    def faults(self, spec: Spec) -> Iterator[specrules.Fault]:
        """What does not go together with the spec, which must be whole: every end of every key's values is tried in it."""
        if not spec.data.split.validation:
            yield ("search",), "compares on validation rows, and data.split.validation is 0"
        yield from self._objective_faults(spec.evaluate.metrics)
        if not self.space:
            yield ("search", "space"), "is empty: name keys, or leave it out for the task's own"
        if own := [*self._own_faults()]:
            yield from own
            return
        for key, changes in self.corners():
            try:
                spec.with_changes(changes)
            except ValidationError as error:
                yield ("search", "space", key), f"{changes[key]!r}: {specrules.first_of(error)}"

    def _objective_faults(self, metrics: tuple[str, ...]) -> Iterator[specrules.Fault]:
        allowed = (*metrics[1:], *COSTS)
        for name in self.objectives:
            if name == metrics[0]:
                yield ("search", "objectives"), f"{name} is the primary metric: it comes first, and need not be named"
            elif name not in allowed:
                yield ("search", "objectives"), known("metric of evaluate.metrics, or cost,", name, allowed)
        for name in self.stop_when:
            if name not in (*metrics, *self.objectives):
                wanted = known("metric of evaluate.metrics, or objective,", name, (*metrics, *self.objectives))
                yield ("search", "stop_when"), wanted
        if self.objectives and self.prune != "none":
            why = "it looks at the score alone, and would stop a small, fast model for that"
            yield ("search", "prune"), f"is {self.prune}, which does not go with search.objectives: {why}"
        if self.tolerance and not self.objectives:
            yield ("search", "tolerance"), f"is {self.tolerance:g}, and search.objectives names nothing to gain by it"

    def _own_faults(self) -> Iterator[specrules.Fault]:
        always = [key for key, parameter in self.space.items() if not parameter.when]
        for key, parameter in self.space.items():
            here = ("search", "space", key)
            if key not in KEYS:
                yield here, known("key that can be searched", key, KEYS)
            for other, wanted in parameter.when.items():
                if other not in always:
                    yield here, f"when: {known('key of the space that has no when itself', other, always)}"
                elif strange := [one for one in wanted if one not in (self.space[other].listed or wanted)]:
                    yield here, f"when: {other} is never {strange[0]!r}"
            if self.method == "grid" and parameter.listed is None:
                yield (
                    here,
                    "is a range, and a grid takes values, or a step: list them, or use method random or bayesian",
                )
        size = math.prod(len(parameter.listed or ()) or 1 for parameter in self.space.values())
        if self.method == "grid" and size > MOST_COMBINATIONS:
            yield ("search", "space"), f"has {size:,} combinations, and a grid takes {MOST_COMBINATIONS:,} at most"

    def corners(self) -> Iterator[tuple[str, dict[str, Value]]]:
        """(key, changes): each end of each parameter, with values beside which it matters."""
        for key, parameter in self.space.items():
            beside = {other: wanted[0] for other, wanted in parameter.when.items()}
            for end in parameter.ends:
                yield key, {**beside, key: end}


def changed(document: dict[str, Any], changes: Values) -> dict[str, Any]:
    """A spec's document with these values in place of its own, and without the search."""
    made = {name: value for name, value in document.items() if name != "search"}
    for dotted, value in changes.items():
        *sections, name = dotted.split(".")
        made[sections[0]] = below = dict(made[sections[0]])
        for section in sections[1:]:
            below[section] = below = dict(below[section])
        below[name] = value
    return made


def without_primary(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec's sections with search.objectives less the primary metric, which a user may name as the first."""
    search, evaluate = spec["search"], spec.get("evaluate")
    named, metrics = search.get("objectives"), evaluate.get("metrics") if isinstance(evaluate, Mapping) else None
    if not isinstance(named, list | tuple) or not isinstance(metrics, list | tuple) or [*named[:1]] != [*metrics[:1]]:
        return spec
    return {**spec, "search": {**search, "objectives": [*named[1:]]}}


def default_space(task: Task, method: object, init: object) -> dict[str, Any]:
    """What is tried where a spec says nothing: the options that most often make a difference for such a task."""
    low, high = RATES.get(str(init if init == "scratch" else method), RATES["full"])
    changed_pictures = {"train.augment": ["none", "light"]} if task.media and method == "full" else {}
    return {
        "train.learning_rate": {"low": low, "high": high, "scale": "log"},
        "train.batch_size": list(task.batch_sizes),
        "train.weight_decay": {"low": 0.001, "high": 0.3, "scale": "log"},
        **changed_pictures,
    }
