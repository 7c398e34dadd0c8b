"""What a report is made from: one frozen value, so that a page is a pure function of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from contender.attribution import Attributions
from contender.compression import Compression
from contender.cost import Cost
from contender.crossvalidation import CrossValidated
from contender.records import (
    AliasEntry,
    Decision,
    Evaluation,
    QualityReport,
    ReleaseManifest,
    RuleResult,
    SetEvaluation,
    Snapshot,
    SplitReport,
    TrainReport,
    Verdict,
)
from contender.searching import SearchReport
from contender.selecting import SelectionReport

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.evaluation.latency import Latency
    from contender.evaluation.outcomes import Paired
    from contender.monitoring import Observation
    from contender.noise import NoiseReport
    from contender.reporting.comparison import MetricRow

Examples = Literal["none", "redacted", "full"]


@dataclass(frozen=True)
class History:
    """What was decided and made live before, oldest first: no more than the newest of each."""

    decisions: tuple[Decision, ...]
    entries: tuple[AliasEntry, ...]


@dataclass(frozen=True)
class ReportInput:
    """A challenger, what it was judged against, and all that a reader may want to know of it.

    champion_files: what the champion's snapshot saw, None where nobody knows. outcomes and champion_outcomes
    are of the set `on`; `rows` is that set's row file; `at` is UTC, ISO 8601. noise: what seeds alone move, where that was measured.
    monitoring: champions on rows that were new to them, the oldest first. latency and timings: of both on the same examples, with the
    milliseconds of each; history: of the alias. compression: beside the model that the challenger was made from. search: that its
    options were chosen by; selection: its base. folds: what its options came to on them. explained: why the models gave rows of `on`
    their answers.
    """

    pipeline: str
    alias: str
    at: str
    on: str
    verdict: Verdict
    evaluation: Evaluation
    release: ReleaseManifest
    champion: ReleaseManifest | None
    champion_files: Snapshot | None
    snapshot: Snapshot
    quality: QualityReport
    split: SplitReport
    training: TrainReport
    outcomes: pa.Table
    champion_outcomes: pa.Table | None
    rows: Path
    examples: Examples = "redacted"
    noise: NoiseReport | None = None
    monitoring: tuple[Observation, ...] = ()
    latency: Latency | None = None
    timings: pa.Table | None = None
    history: History | None = None
    cost: Cost | None = None
    compression: Compression | None = None
    search: SearchReport | None = None
    selection: SelectionReport | None = None
    folds: CrossValidated | None = None
    explained: Attributions = field(default_factory=Attributions)

    @cached_property
    def judged(self) -> SetEvaluation:
        """The challenger on the set that decides."""
        return next(held for held in self.evaluation.challenger_sets if held.set == self.on)

    @cached_property
    def paired(self) -> Paired:
        """Both models' outcomes on it."""
        from contender.evaluation.outcomes import paired

        return paired(self.outcomes, self.champion_outcomes)

    @cached_property
    def metric_rows(self) -> list[MetricRow]:
        """Both models on it, metric by metric, in the order of `metrics`."""
        from contender.reporting.comparison import Pair, compared

        pair = Pair(self.judged, self.champion_judged, self.outcomes, self.champion_outcomes)
        return compared(pair, self.verdict, self.metrics)

    @cached_property
    def champion_judged(self) -> SetEvaluation | None:
        return self.champion_on(self.on)

    def champion_on(self, name: str) -> SetEvaluation | None:
        return next((held for held in self.evaluation.champion_sets if held.set == name), None)

    @property
    def metrics(self) -> list[str]:
        """Metric names; the primary one first."""
        versus = self.versus
        first = [versus.metric] if versus and versus.metric in self.judged.metrics else []
        return [*first, *(name for name in self.judged.metrics if name not in first)]

    @property
    def bands(self) -> dict[str, float]:
        """Metric → how far the seed may move its difference, to both sides of zero; none where nothing is compared or measured."""
        if self.noise is None or self.champion is None:
            return {}
        found = {name: self.noise.band(name, self.on) for name in self.metrics}
        return {name: band for name, band in found.items() if band is not None}

    @property
    def versus(self) -> RuleResult | None:
        """The first rule that compared the challenger with the champion."""
        return self.verdict.versus
