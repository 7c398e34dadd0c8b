"""What of an example spoke for a model's answer, and what against it: the kinds compute it, the report shows it."""

from __future__ import annotations

from pydantic import Field

from contender.records import Record

TOLERATED_GAP = (
    0.05  # of all weights, what they may miss of the score that they explain (Sundararajan et al. 2017, section 5)
)


class Span(Record):
    """Characters of a text, and what they added to the score of an answer."""

    start: int
    end: int
    weight: float = Field(description="in logits; above zero it spoke for the answer, below against it")


class Attribution(Record):
    """Why a model gave one row its answer. It holds places in the row's text, and none of the text."""

    row: int
    answer: str = Field(description="the label that the model gave, whose score is explained")
    spans: tuple[Span, ...] = Field(description="in the order of the text; what the model did not read has none")
    gain: float = Field(description="the answer's score, less the score with padding in the place of the text")
    gap: float = Field(description="how far the weights are from adding up to `gain`, as a share of all of them")


class Attributions(Record):
    """Of the rows that a report shows; the champion's are of the rows where it and the challenger differ."""

    challenger: tuple[Attribution, ...] = ()
    champion: tuple[Attribution, ...] = ()
