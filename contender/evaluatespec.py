"""The spec's section `evaluate`: what is measured."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from contender import specrules
from contender.evaluation.answers import answer_pattern, judge_name
from contender.section import Section
from contender.splitspec import Column


class Evaluate(Section):
    """What is measured on held-out sets; the first metric is the primary one."""

    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default=("accuracy", "f1_macro"),
        description="what is measured; the first one decides; the default is the task's",
    )
    positive: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="of a table: the label that average precision and its kin find; default: the rarest in training",
    )
    answer: Annotated[str, Field(min_length=1), AfterValidator(answer_pattern)] | None = Field(
        default=None,
        description="for exact_match: a regular expression (RE2) whose first group is what counts of a text, such as '#### (.+)'",
    )
    judge: Annotated[str, AfterValidator(judge_name)] | None = Field(
        default=None,
        description="for win_rate: file.py:function beside the YAML; (prompt, answer, reference) → 0 to 1, or win, tie, loss",
    )
    out_of_scope: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="of text classification: the label that means none of the others, which in-scope accuracy, out-of-scope recall and "
        "precision tell from them",
    )
    slices: tuple[Column, ...] = Field(default=(), description="columns for whose values the metrics are reported too")

    @field_validator("metrics")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            specrules.metric(name)
        if len(set(value)) < len(value):
            raise ValueError("names a metric twice")
        return value
