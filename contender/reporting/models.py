"""What outcomes on the same rows say of one model, or of two side by side: for the report and for the page of a difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contender.evaluation.outcomes import Paired
from contender.reporting.calibration import reliability, reliability_chart
from contender.reporting.confusion import confusion_matrix


def of_models(on: str, both: Paired, words: Mapping[str, str], labelled: bool) -> dict[str, Any]:
    """Values of the templates confusion.html and calibration.html. `words`: what `ours` and `theirs` are called; `labelled`: every
    row has one label of a closed set, without which there is nothing to confuse."""
    found = [reliability(model) for model in (both.ours, both.theirs) if model] if labelled else []
    return {
        "on": on,
        "words": words,
        "compared": both.theirs is not None,
        "labelled": labelled,
        "matrix": confusion_matrix(both.ours, both.theirs) if labelled else None,
        "calibration": [reliability_chart(one) for one in found if one is not None],
    }
