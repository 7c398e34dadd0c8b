"""The spec's section `compress`: how a trained model is made smaller and faster before it is staged.

Light to import: the spec and the training job hold its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from contender import specrules
from contender.names import TASKS, Task
from contender.section import Section

MARGIN = 0.01  # of the primary metric, that a compressed model may lose where the spec says nothing else
RATIO = 1.0  # of the champion's median latency


class Distill(Section):
    """A smaller model that learns from the trained one (Hinton, Vinyals and Dean 2015, arXiv 1503.02531)."""

    to: Annotated[str, Field(min_length=1), AfterValidator(specrules.base)] = Field(
        description="the smaller base, named as in model.base; it is trained by method full, with the options of train"
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        default=2.0, description="both models' logits are divided by it: the higher, the more the lesser answers say"
    )
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="weight of the trained model's answers; 1 − alpha is the weight of the labels"
    )


class Compress(Section):
    """What becomes of the trained model before it is staged: first distil, then quantize, each where it is asked for."""

    quantize: Literal["int8"] | None = Field(
        default=None,
        description="int8: the linear layers' weights as int8 numbers, and int8 arithmetic on CPUs; docs/how-to/compress.md",
    )
    distill: Distill | None = Field(default=None, description="a smaller model learns from the trained one")

    @property
    def asked(self) -> bool:
        """Whether there is anything to do."""
        return self.quantize is not None or self.distill is not None

    def faults(self, name: str, task: Task) -> Iterator[specrules.Fault]:
        """What the task cannot do."""
        for key, means in (("quantize", "int8"), ("distill", "distillation")):
            if getattr(self, key) is not None and key not in task.compresses:
                others = ", ".join(name for name, other in TASKS.items() if key in other.compresses)
                yield ("compress", key), f"{name} gains nothing that was shown by {means}; these do: {others}"


def with_defaults(value: dict[str, Any]) -> dict[str, Any]:
    """A spec as it was read, with rules for a compressed model where it has none of its own: no worse, and no slower."""
    asked = value.get("compress")
    if not isinstance(asked, Mapping) or all(one is None for one in asked.values()):
        return value
    versus = ("promote", "versus_champion")
    value = specrules.filled(value, versus, {"rule": "non_inferior", "margin": MARGIN})
    return specrules.filled(value, ("promote", "guards", "latency_ratio"), RATIO)
