"""What the judge says: the verdict, each rule of it, and the looks at held-out sets that it cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contender.canonical import Record

RuleOutcome = Literal["passed", "failed", "undecided", "reported"]


class RuleResult(Record):
    """One rule of the verdict, with everything needed to check it by hand."""

    rule: str = Field(
        description="superior:accuracy, floor:accuracy, slice:accuracy, golden:accuracy, latency_p95_ms, …"
    )
    kind: Literal["comparison", "floor", "guard"]
    set: str
    slice: str | None = Field(default=None, description="column=value, for a guard on a slice")
    metric: str
    estimate: float = Field(
        description="the gain of challenger over champion, above 0 where the challenger is better; the metric itself for a floor"
    )
    low: float | None = Field(default=None, description="lower end of the confidence interval")
    high: float | None = None
    threshold: float
    p_value: float | None = Field(default=None, description="one-sided: of a comparison passing, of a guard's harm")
    alpha: float | None = None
    rows: int
    outcome: RuleOutcome = Field(description="reported: too little to judge, and no part of the verdict")
    sentence: str
    rows_needed: int | None = Field(default=None, description="about how many rows would decide, where undecided")
    units: int | None = Field(default=None, description="split keys compared, where several rows share one; else rows")
    better: int | None = Field(default=None, description="units on which the challenger is right more often")
    worse: int | None = Field(default=None, description="units on which the champion is right more often")
    resamples: int | None = Field(default=None, description="of the bootstrap, where the test is one")
    dropped: int = Field(default=0, description="rows left out because one of the models trained on them")
    waiting: int = Field(
        default=0, description="rows left out because they wait to be judged as a generation of their own"
    )
    unknown_labels: int = Field(default=0, description="rows whose label the champion does not know; it has them wrong")


class Look(Record):
    """One look at a held-out set, and how much of the set's life it and those before it used."""

    set: str
    generation: int = Field(description="rows that are judged together, with an alpha of their own; the first is 1")
    look: int = Field(description="number of the look at this generation")
    alpha: float = Field(description="the most that its tests may err, together")
    spent: float = Field(description="share of 1 − confidence that looks at this generation used up, with this one")
    units: int = Field(description="split keys of the generation")
    waiting: int = Field(default=0, description="keys never judged, too few yet to be the next generation")


class Verdict(Record):
    """PROMOTE: every rule passed. KEEP: a rule is decided against. INCONCLUSIVE: the rest."""

    verdict: Literal["PROMOTE", "KEEP", "INCONCLUSIVE"]
    sentence: str
    rules: tuple[RuleResult, ...]
    composition: str | None = Field(
        default=None, description="how the comparisons go together, where there are several"
    )
    looks: tuple[Look, ...] = ()
    judged_against: int = Field(description="n of the champion's alias entry; 0: there was none")
    champion: str | None = None

    @property
    def versus(self) -> RuleResult | None:
        """The first comparison with the champion."""
        return next((rule for rule in self.rules if rule.kind == "comparison"), None)
