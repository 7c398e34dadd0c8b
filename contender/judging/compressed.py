"""What a compressed model must show beside the model that it was made from: that it is faster, and not worse than is allowed.

Both are rules of the verdict: what is no faster is not worth what it loses, and stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from contender.judging.guards import Guarded, judge_alone
from contender.judging.held_out import HeldOut, fair
from contender.judging.words import value
from contender.verdict import RuleOutcome, RuleResult

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.compression import Compression

RULE = "compressed"
SET = "validation"
OUTCOMES: dict[str, RuleOutcome] = {"yes": "passed", "no": "failed", "not shown": "undecided"}


def judge_compression(
    found: Compression, after: pa.Table | None, before: pa.Table | None, margin: float, level: float
) -> Iterator[RuleResult]:
    """One result for the speed, and one for the quality where there are outcomes of both on the same rows.

    margin: how much lower the metric may be; the drop must also be shown, by a one-sided test at `level`.
    """
    yield _speed(found)
    if after is None or before is None:
        return
    guarded = Guarded(RULE, found.metric, fair(SET, HeldOut(after, before), ()), margin)
    result = judge_alone(guarded, level)
    yield result.model_copy(update={"sentence": f"Beside the model that it was made from: {result.sentence}"})


def _speed(found: Compression) -> RuleResult:
    low, high = found.ratio_low, found.ratio_high
    bounds = f", between {low:.2f} and {high:.2f}" if low is not None and high is not None else ""
    took = (
        f"{value('latency_median_ms', found.median_after)} instead of {value('latency_median_ms', found.median_before)}"
    )
    said = {"yes": "is faster than", "no": "is not faster than", "not shown": "is not shown to be faster than"}
    times = value("latency_ratio", found.ratio)
    return RuleResult(
        rule=f"{RULE}:latency_ratio",
        kind="guard",
        set=SET,
        metric="latency_ratio",
        estimate=found.ratio,
        low=low,
        high=high,
        threshold=1.0,
        rows=found.examples,
        outcome=OUTCOMES[found.faster],
        sentence=f"The compressed model, {found.how}, {said[found.faster]} the model that it was made from: {took} on {found.device}, "
        f"{times} the time{bounds}.",
    )
