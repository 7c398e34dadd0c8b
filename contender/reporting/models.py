"""What outcomes on the same rows say of one model, or of two side by side: for the report and for the page of a difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from contender.evaluation.outcomes import from_table, shared_codes
from contender.reporting.calibration import reliability, reliability_chart
from contender.reporting.confusion import confusion_matrix

if TYPE_CHECKING:
    import pyarrow as pa


def of_models(on: str, ours: pa.Table, theirs: pa.Table | None, words: Mapping[str, str]) -> dict[str, Any]:
    """Values of the templates confusion.html and calibration.html. `words`: what `ours` and `theirs` are called."""
    first, second = from_table(ours), None
    if theirs is not None:
        first, second = shared_codes(first, from_table(theirs))
    found = [reliability(first), *([reliability(second)] if second else [])]
    return {
        "on": on,
        "words": words,
        "compared": second is not None,
        "matrix": confusion_matrix(first, second),
        "calibration": [reliability_chart(one) for one in found if one is not None],
    }
