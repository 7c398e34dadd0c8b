"""What the options of a job come to: a rate for `learning_rate: auto`, and how a release writes its answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contender.training.options import GenerationOptions

Rates = tuple[tuple[float, float], tuple[float, float]]  # parameters and peak rate, of a small base and of a big one


def peak_rate(parameters: int, rates: Rates, lowest: float, highest: float) -> float:
    """The peak rate for a base of so many parameters: a line through both `rates` where both axes are logarithmic, within bounds."""
    (small, fast), (big, slow) = rates
    slope = math.log(slow / fast) / math.log(big / small)
    return float(min(max(fast * (max(parameters, 1) / small) ** slope, lowest), highest))


def keep_generation(model: Any, wanted: GenerationOptions, longest: int, **tokens: Any) -> None:
    """Writes into the model's generation configuration how it is to answer, in at most `longest` tokens; `tokens`: ids by their names."""
    own = model.generation_config
    own._from_model_config = False  # else transformers makes another one of config.json when the release is loaded
    own.update(
        num_beams=wanted.beams,
        max_new_tokens=longest,
        max_length=None,
        min_length=0,
        length_penalty=wanted.length_penalty,
        no_repeat_ngram_size=wanted.no_repeat_ngram,
        early_stopping=wanted.beams > 1,
        do_sample=False,
        **tokens,
    )
