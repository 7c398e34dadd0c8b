"""The spec's section `selection`: how several base models are compared before one of them is trained.

Light to import: the spec holds its values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from contender import specrules
from contender.errors import known
from contender.names import API, TASKS
from contender.secretref import check_reference
from contender.section import Section

if TYPE_CHECKING:
    from contender.spec import Spec

FORM = f"{API}https://host/v1#model"
MODEL_NAME = re.compile(r"[!-~]+")
# Columns of outcomes that what somebody else's model writes gives; it tells no probabilities.
FROM_TEXT = ("label", "prediction", "out_of_scope", "said_out_of_scope", "win")
# Those whose examples are text, and whose answers are labels of a closed set, or text.
API_TASKS = tuple(task for task, facts in TASKS.items() if facts.words and facts.labels in ("one", "set", "none"))

By = Literal["linear-probe", "fine-tune", "zero-shot"]


def candidate(value: str) -> str:
    """A base among several: what can be trained, or an `api:<url>#model` that is only asked."""
    if not value.startswith(API):
        return specrules.base(value)
    url, separator, model = value.removeprefix(API).partition("#")
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.scheme not in ("http", "https"):
        raise ValueError(f"must be {FORM}, its URL of http or https")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold credentials: name where the key is under selection.api_key")
    if parts.query or not re.fullmatch(r"[!-~]+", url):
        raise ValueError(f"must be {FORM}, its URL without a query")
    if not separator or not MODEL_NAME.fullmatch(model):
        raise ValueError(f"names no model: write {FORM}")
    return value


def address(value: str) -> tuple[str, str]:
    """URL and model of an `api:` base."""
    url, _, model = value.removeprefix(API).partition("#")
    return url.rstrip("/"), model


def told_by_text(metrics: Sequence[str]) -> list[str]:
    """The metrics that what a model writes tells, without probabilities."""
    from contender.evaluation.metrics import METRICS

    return [name for name in metrics if set(METRICS[name].needs) <= set(FROM_TEXT)]


class Price(Section):
    """What a provider asks for its model, in whatever currency."""

    input: Annotated[float, Field(ge=0)] = Field(description="for a million tokens that it reads")
    output: Annotated[float, Field(ge=0)] = Field(description="for a million tokens that it writes")


class Selection(Section):
    """Several bases of `model.base`, compared cheaply on validation; the best one is trained."""

    keep: int = Field(
        default=1,
        ge=1,
        le=100,
        description="so many go on; above 1 the search tries them all, and without one each is trained in full",
    )
    by: Literal["auto", "linear-probe", "fine-tune", "zero-shot"] = Field(
        default="auto",
        description="linear-probe: a classifier on what the frozen base makes of a sample; fine-tune: one epoch on a sample; zero-shot: "
        "as it is, for tasks that write; auto: linear-probe where the task has method head, else fine-tune",
    )
    rows: int = Field(default=1000, ge=1, description="training rows in the sample, about")
    api_rows: int = Field(
        default=100, ge=1, description="validation rows that a base of api: is asked, twice: zero-shot and few-shot"
    )
    api_key: Annotated[str, AfterValidator(check_reference)] | None = Field(
        default=None, description="where the key for bases of api: is: env:NAME or file:/path"
    )
    prices: dict[str, Price] = Field(default={}, description="base of api: → price of a million tokens")

    def way(self, spec: Spec) -> By:
        """How bases that can be trained are compared."""
        if self.by != "auto":
            return self.by
        return "linear-probe" if "head" in spec.facts.methods and spec.model.init == "pretrained" else "fine-tune"

    def text(self, spec: Spec) -> str:
        """What a run would do, for people."""
        asked = f", {len(spec.model.asked)} of them only asked" if spec.model.asked else ""
        return (
            f"{len(spec.model.bases)} bases{asked}, compared by {self.way(spec)} on about {self.rows:,} training rows; "
            f"{self.keep} {'goes' if self.keep == 1 else 'go'} on"
        )

    def faults(self, spec: Spec) -> Iterator[specrules.Fault]:
        """What does not go together with the spec."""
        model, here = spec.model, ("selection",)
        if len(model.bases) == 1:
            yield here, "chooses between bases, and model.base names one: name several, or remove the section"
            return
        if not spec.data.split.validation:
            yield here, "compares on validation rows, and data.split.validation is 0"
        if self.keep >= len(model.local):
            can = f"and model.base has {len(model.local)} that can be trained"
            yield (*here, "keep"), f"is {self.keep}, {can}: keep fewer, so that there is something to choose"
        if self.by == "linear-probe" and ("head" not in spec.facts.methods or model.init == "scratch"):
            why = (
                "nothing is frozen with init: scratch" if model.init == "scratch" else f"{spec.task} has no method head"
            )
            yield (*here, "by"), f"is linear-probe, and {why}: fine-tune"
        if self.by == "zero-shot" and (not spec.facts.writes or model.init == "scratch"):
            why = (
                "init: scratch knows nothing yet"
                if spec.facts.writes
                else f"{spec.task} answers only once it is trained"
            )
            yield (*here, "by"), f"is zero-shot, and {why}: {'fine-tune or ' if spec.facts.writes else ''}auto"
        yield from self._api_faults(spec)

    def _api_faults(self, spec: Spec) -> Iterator[specrules.Fault]:
        asked, primary = spec.model.asked, spec.evaluate.metrics[0]
        for name in self.prices:
            if name not in asked:
                yield ("selection", "prices", name), known("base of api: in model.base", name, asked)
        if self.api_key is not None and not asked:
            yield ("selection", "api_key"), "is for bases of api:, and model.base names none"
        if asked and spec.task not in API_TASKS:
            yield (
                ("model", "base"),
                f"{asked[0]}: {spec.task} cannot be asked of an API yet; {', '.join(API_TASKS)} can",
            )
        elif asked and not told_by_text([primary]):
            others = ", ".join(told_by_text(spec.facts.metrics))
            why = f"the primary metric is {primary}, which needs probabilities: make it one of {others}"
            yield (
                ("model", "base"),
                f"{asked[0]}: answers with {'text' if spec.facts.writes else 'labels'} alone, and {why}",
            )


def with_selection(value: Any) -> Any:
    """A spec's document; several bases are compared also where it does not say how."""
    model = value.get("model")
    base = model.get("base") if isinstance(model, dict) else None
    if isinstance(base, list | tuple) and len(base) > 1 and value.get("selection") is None:
        return {**value, "selection": {}}
    return value
