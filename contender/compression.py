"""What compressing a trained model came to: size, quality and speed beside the model that it was made from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contender.canonical import Record
from contender.records import TrainReport


class Distilled(Record):
    """How a smaller model learned from the trained one."""

    to: str
    base_digest: str
    base_revision: str | None = None
    temperature: float
    alpha: float


class Compression(Record):
    """A compressed model beside the one that it was made from, on the same rows and, for the timings, the same device."""

    quantize: Literal["int8"] | None
    distill: Distilled | None
    original: str = Field(description="digest of the files of the model that it was made from")
    bytes_before: int = Field(description="of the model's files")
    bytes_after: int
    metric: str
    rows: int = Field(description="of validation; 0: there are none, and quality was not compared")
    before: float | None = Field(default=None, description="the metric of the model that it was made from")
    after: float | None = None
    examples: int = Field(description="timed one at a time, both models in turn")
    median_before: float = Field(description="milliseconds")
    median_after: float
    ratio: float = Field(description="median of the ratios of one example's two answers; below 1 it is faster")
    ratio_low: float | None = Field(default=None, description="95% bounds; none where too few examples were timed")
    ratio_high: float | None = None
    device: str = Field(description="that both were timed on")
    training: TrainReport | None = Field(default=None, description="of the smaller model, where one was distilled")

    @property
    def how(self) -> str:
        """Distilled to BASE, then quantised to int8."""
        steps = [f"distilled to {self.distill.to}"] if self.distill else []
        return ", then ".join([*steps, *([f"quantised to {self.quantize}"] if self.quantize else [])])

    @property
    def faster(self) -> Literal["yes", "no", "not shown"]:
        """Whether it answers faster than what it was made from: by the bounds of the ratio, where there are any."""
        if self.ratio >= 1:
            return "no"
        return "yes" if self.ratio_high is not None and self.ratio_high < 1 else "not shown"

    @property
    def figures(self) -> list[tuple[str, str, str]]:
        """What was measured, before and after, in words."""
        from contender.evaluation.latency import milliseconds
        from contender.judging.words import facts, value

        size = ("Size of the files", f"{self.bytes_before / 1e6:,.1f} MB", f"{self.bytes_after / 1e6:,.1f} MB")
        shown = [value(self.metric, one) if one is not None else "–" for one in (self.before, self.after)]
        quality = (f"{facts(self.metric).title} on validation, {self.rows:,} rows", shown[0], shown[1])
        times = [f"{milliseconds(one)} ms" for one in (self.median_before, self.median_after)]
        return [size, quality, (f"Median latency, one example, {self.device}", times[0], times[1])]

    @property
    def sentence(self) -> str:
        """The whole in one line."""
        found = (f"{name[0].lower()}{name[1:]} {before} → {after}" for name, before, after in self.figures)
        return f"{self.how}: {'; '.join(found)}"
