"""How many tokens of a text a model reads."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Literal

from contender.errors import UsageError

if TYPE_CHECKING:
    import datasets

SAMPLED_ROWS = 10_000  # rows whose length decides `max_length: auto`; more would move the 99.9th percentile by little
LENGTH_QUANTILE = 0.999
NO_LIMIT = 100_000  # a tokenizer that knows no limit says 1e30
FALLBACK_LIMIT = 512  # tokens, where neither tokenizer nor model states a limit


def text_length(
    asked: int | Literal["auto"],
    tokenizer: Any,
    model_config: Any,
    rows: datasets.Dataset,
    column: str,
    words: bool = False,
) -> int:
    """Tokens that a text is cut to: what was asked, or the 99.9th percentile of the rows' `column`, within what the base can read.

    `words`: the column holds lists of words, in JSON. UsageError for more than the base can read.
    """
    import numpy as np

    limit = length_limit(tokenizer, model_config)
    if asked != "auto":
        return within(asked, limit)
    sample = np.unique(np.linspace(0, len(rows) - 1, num=min(len(rows), SAMPLED_ROWS)).astype(np.int64))
    texts = rows.select(sample)[column][:]
    if words:
        texts = [json.loads(text) for text in texts]
    encoded = tokenizer(texts, is_split_into_words=words, truncation=True, max_length=limit, verbose=False)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    longest = math.ceil(float(np.quantile(lengths, LENGTH_QUANTILE, method="higher")))
    return min(limit, -(-longest // 8) * 8)


def within(asked: int, limit: int) -> int:
    """The length that was asked; UsageError for more than the base can read."""
    if asked > limit:
        raise UsageError(
            f"train.max_length {asked} is more than the {limit} tokens of the base",
            f"Set at most {limit}, or auto.",
        )
    return asked


def length_limit(tokenizer: Any, model_config: Any) -> int:
    """The most tokens that both the tokenizer and the base's positions admit."""
    limits = [tokenizer.model_max_length]
    positions = getattr(model_config, "max_position_embeddings", None)
    if positions and positions > 0:
        # RoBERTa's kin count positions from the padding id + 1; two fewer are right for them and harm nobody else.
        taken = 2 if positions % 2 == 0 and positions % 8 == 2 else 0
        limits.append(positions - taken)
    known_limits = [limit for limit in limits if limit < NO_LIMIT]
    return int(min(known_limits, default=FALLBACK_LIMIT))
