"""Dropout (Srivastava et al., 2014): what a base's configuration calls it, and one probability for all of it.

Every architecture has names of its own: hidden_dropout_prob, attention_dropout, resid_pdrop, seq_classif_dropout, dropout_rate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from contender.errors import ModelError
from contender.training.options import Job, is_dropout
from contender.training.scratch import config_of, own_keys


def dropouts(job: Job) -> dict[str, float]:
    """What the job's `dropout` makes of its base's configuration: key → probability. ModelError where the base has no such key."""
    return dropouts_of(Path(job.base), job.options.dropout)


def dropouts_of(base: Path, asked: float | Literal["auto"]) -> dict[str, float]:
    """The same for the configuration in a folder; {} for auto. Keys without a value, which follow another one, stay as they are."""
    if asked == "auto":
        return {}
    config = config_of(base)
    told = config.to_dict()
    own = [key for key in sorted(own_keys(config)) if is_dropout(key)]
    found = [key for key in own if isinstance(told.get(key), int | float) and not isinstance(told[key], bool)]
    if not found:
        raise ModelError(
            f"train.dropout is {asked:g}, and the base in {base}, a {config.model_type}, has no dropout",
            "Remove train.dropout; train.weight_decay, train.label_smoothing and fewer train.epochs regularise any base.",
        )
    return dict.fromkeys(found, float(asked))
